// Counts the service users of a team, with a token from bearerd. Needs Node 18, no package.
import { bearerd } from './bearerd.mjs';

const { OKTAPAM_API_HOST, OKTAPAM_TEAM } = process.env;
const okta = bearerd();

async function countUsers() {
  let count = 0;
  for (let url = `${OKTAPAM_API_HOST}/v1/teams/${OKTAPAM_TEAM}/service_users`; url; ) {
    const page = await okta(url, { signal: AbortSignal.timeout(30_000) });
    if (!page.ok) throw new Error(`${url}: ${page.status} ${await page.text()}`);
    count += (await page.json()).list.length;
    url = page.headers.get('link')?.match(/<([^>]*)>; rel="next"/)?.[1];
  }
  return count;
}

try {
  console.log(`${await countUsers()} service users`);
} catch (error) {
  console.error(error.cause?.message ?? error.message);
  process.exitCode = 1;
}
