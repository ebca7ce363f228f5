// Counts the service users of a team, with a token from bearerd. Needs Node 18, no package.
import { once } from 'node:events';
import { get } from 'node:http';
import { text } from 'node:stream/consumers';

const { BEARERD_SOCKET, BEARERD_URL = 'http://127.0.0.1:8420' } = process.env;
const { OKTAPAM_API_HOST, OKTAPAM_TEAM } = process.env;
const path = '/v1/token?format=raw';

async function ask(url, headers) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(30_000), headers });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

// For a unix socket Node's fetch needs an Agent out of the package undici; node:http needs nothing.
async function tokenOverSocket() {
  const call = get({ socketPath: BEARERD_SOCKET, path, signal: AbortSignal.timeout(30_000) });
  const [answer] = await once(call, 'response');
  const body = await text(answer);
  if (answer.statusCode !== 200) throw new Error(`${BEARERD_SOCKET}: ${answer.statusCode} ${body}`);
  return body;
}

async function tokenOverTcp() {
  return (await ask(BEARERD_URL + path, { 'X-Bearerd': '1' })).text();
}

async function countUsers() {
  let count = 0;
  for (let url = `${OKTAPAM_API_HOST}/v1/teams/${OKTAPAM_TEAM}/service_users`; url; ) {
    // Asked for before each call, which costs next to nothing, and never kept.
    const token = await (BEARERD_SOCKET ? tokenOverSocket() : tokenOverTcp());
    const page = await ask(url, { Authorization: `Bearer ${token}` });
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
