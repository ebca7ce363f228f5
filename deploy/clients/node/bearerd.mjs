// Tokens from the bearerd beside this program, for Node 18 and newer. One file, no package, to be copied.
//
//     const call = bearerd();                                    // call as you call fetch
//     const answer = await call('https://acme.pam.okta.com/v1/teams/acme/service_users');
//
// The daemon is found at $BEARERD_SOCKET, at $BEARERD_URL, or in its default places, and is waited
// for. A token is kept until a tenth of what was left of its life is left. When the upstream answers
// 401 the token is reported, and the call is sent once more with a newer one, if there is one.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

const ANSWER_TIMEOUT = 30_000; // a report waits for a mint

export class BearerdError extends Error {}

// Gives a `fetch` that puts the token into each call; see Bearerd for the settings.
export function bearerd(settings, upstream = fetch) {
  const daemon = settings instanceof Bearerd ? settings : new Bearerd(settings);
  return async (input, init) => {
    // A request can be sent once; its copy is for the second time.
    const first = new Request(input, init);
    const again = first.clone();
    const token = await daemon.token();
    const answer = await upstream(bearing(first, token));
    if (answer.status !== 401 || answer.redirected) return discarding(again, answer);
    const newer = await daemon.newerThan(token);
    if (!newer) return discarding(again, answer);
    await answer.body?.cancel();
    return upstream(bearing(again, newer));
  };
}

function bearing(call, token) {
  call.headers.set('Authorization', `Bearer ${token.bearerToken}`);
  return call;
}

// What nobody will send is not held in memory.
function discarding(call, answer) {
  call.body?.cancel().catch(() => {});
  return answer;
}

// The daemon, as programs see it.
export class Bearerd {
  #settings;
  #kept;
  #line = Promise.resolve();

  // address: `unix:PATH` or a URL; credential: another one than the listener's first;
  // accessTokenFile: that of the listener; wait: milliseconds in which the daemon must come up.
  constructor({ address, credential, accessTokenFile, wait = 10_000 } = {}) {
    const query = credential ? `?${new URLSearchParams({ credential })}` : '';
    this.#settings = { address, accessTokenFile, wait, query };
  }

  // Gives the token, asking the daemon if the one that is kept may be over.
  async token() {
    // Who stands in line behind another waits no longer for that.
    const late = performance.now() + this.#settings.wait;
    return this.#inTurn(async () => {
      if (!this.#kept || performance.now() >= this.#kept.keepUntil) {
        this.#kept = await this.#firstToken(late);
      }
      return this.#kept;
    });
  }

  // Reports a token that got a 401; gives a newer one, or undefined if none can be had now.
  async newerThan(refused) {
    return this.#inTurn(async () => {
      if (this.#kept && this.#kept.tokenId !== refused.tokenId) return this.#kept;
      const body = JSON.stringify({ token_id: refused.tokenId });
      const answer = await this.#ask('POST', '/v1/token/rejected', body).catch(() => ({}));
      this.#kept = answer.status === 200 ? read(answer.body) : undefined;
      return this.#kept;
    });
  }

  // One asks the daemon at a time; who comes meanwhile finds what that one was told.
  #inTurn(work) {
    const turn = this.#line.then(work);
    this.#line = turn.catch(() => {});
    return turn;
  }

  async #firstToken(late) {
    for (let pause = 50; ; pause = Math.min(2 * pause, 1000)) {
      let trouble;
      try {
        const { status, retryAfter, body } = await this.#ask('GET', '/v1/token');
        if (status === 200) return read(body);
        trouble = new BearerdError(`bearerd: ${status} ${detail(body)}`);
        if (status !== 429 && status !== 503) late = 0;
        pause = Math.max(pause, Math.min(1000 * retryAfter, 1000));
      } catch (error) {
        trouble = new BearerdError(`bearerd: ${error.message}`);
      }
      if (performance.now() + pause > late) throw trouble;
      await sleep(pause);
    }
  }

  async #ask(method, path, body) {
    const { address, accessTokenFile, query } = this.#settings;
    const headers = { 'X-Bearerd': '1', 'Content-Type': 'application/json' };
    if (accessTokenFile) {
      const accessToken = (await readFile(accessTokenFile, 'ascii')).replace(/\n$/, '');
      headers.Authorization = `Bearer ${accessToken}`;
    }
    let trouble;
    for (const place of address ? [address] : places()) {
      try {
        return await exchange(place, method, path + query, headers, body);
      } catch (error) {
        if (!['ENOENT', 'ECONNREFUSED', 'EACCES'].includes(error.code)) throw error;
        trouble ??= error;
      }
    }
    throw trouble;
  }
}

function places() {
  const { BEARERD_SOCKET, BEARERD_URL, RUNTIME_DIRECTORY, XDG_RUNTIME_DIR } = process.env;
  if (BEARERD_SOCKET) return [`unix:${BEARERD_SOCKET}`];
  if (BEARERD_URL) return [BEARERD_URL];
  const folders = [...(RUNTIME_DIRECTORY ?? '').split(':'), '/run/bearerd', XDG_RUNTIME_DIR];
  return folders.filter(Boolean).map((folder) => `unix:${folder}/bearerd.sock`);
}

async function exchange(place, method, path, headers, body) {
  const options = { method, headers, agent: false, signal: AbortSignal.timeout(ANSWER_TIMEOUT) };
  const call = place.startsWith('unix:')
    ? overHttp({ ...options, socketPath: place.slice('unix:'.length), path })
    : (place.startsWith('https:') ? overHttps : overHttp)(place.replace(/\/$/, '') + path, options);
  call.end(body);
  const [answer] = await once(call, 'response');
  const retryAfter = Number(answer.headers['retry-after']) || 0;
  return { status: answer.statusCode, retryAfter, body: await text(answer) };
}

function read(body) {
  const { bearer_token: bearerToken, token_id: tokenId, expires_in: expiresIn } = JSON.parse(body);
  return { bearerToken, tokenId, keepUntil: performance.now() + 900 * expiresIn };
}

function detail(body) {
  try {
    return JSON.parse(body).detail;
  } catch {
    return 'no bearerd answers there';
  }
}
