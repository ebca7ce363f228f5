// Counts the service users of a team, and knows nothing but Okta. Needs Node 18, no package.
const { OKTAPAM_API_HOST, OKTAPAM_TEAM, OKTAPAM_KEY, OKTAPAM_SECRET } = process.env;
const team = `${OKTAPAM_API_HOST}/v1/teams/${OKTAPAM_TEAM}`;

async function ask(url, options) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(30_000), ...options });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

async function countUsers() {
  const grant = await ask(`${team}/service_token`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ key_id: OKTAPAM_KEY, key_secret: OKTAPAM_SECRET }),
  });
  const headers = { Authorization: `Bearer ${(await grant.json()).bearer_token}` };
  let count = 0;
  for (let url = `${team}/service_users`; url; ) {
    const page = await ask(url, { headers });
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
