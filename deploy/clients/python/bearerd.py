"""Tokens from the bearerd beside this program, for requests and httpx. One file, to be copied.

    session.auth = bearerd.RequestsAuth()
    client = httpx.Client(auth=bearerd.HttpxAuth())         # and AsyncClient

The daemon is found at $BEARERD_SOCKET, at $BEARERD_URL, or in its default places, and is waited for.
A token is kept until a tenth of what was left of its life is left. When the upstream answers 401 the
token is reported, and the call is sent once more with a newer one, if there is one.
"""

import http.client
import json
import os
import socket
import threading
import time
import urllib.parse
from typing import NamedTuple

try:
    import requests
except ImportError:
    requests = None
try:
    import anyio.to_thread
    import httpx
except ImportError:
    httpx = None

_ANSWER_TIMEOUT = 30.0  # a report waits for a mint
_LARGEST = 1 << 20


class BearerdError(OSError):
    """There is no token: the daemon is away, or says why."""


class Token(NamedTuple):
    bearer_token: str
    token_id: str  # safe to log
    keep_until: float


class Bearerd:
    """The daemon, as programs see it; threads may share one."""

    def __init__(self, address=None, *, credential=None, access_token_file=None, wait=10.0):
        """Takes `unix:PATH` or a URL, another credential than the listener's first, the file of the
        listener's access token, and the seconds in which the daemon must come up."""
        self._address = address
        query = urllib.parse.urlencode({"credential": credential} if credential else {})
        self._query = f"?{query}" if query else ""
        self._access_token_file = access_token_file
        self._wait = wait
        self._lock = threading.Lock()
        self._kept = None

    def token(self):
        """Gives the token, asking the daemon if the one that is kept may be over."""
        # Who stands in line behind another waits no longer for that.
        late = time.monotonic() + self._wait
        with self._lock:
            if not self._kept or time.monotonic() >= self._kept.keep_until:
                self._kept = self._first_token(late)
            return self._kept

    def newer_than(self, refused):
        """Reports a token that got a 401; gives a newer one, or None if none can be had now."""
        with self._lock:
            if self._kept and self._kept.token_id != refused.token_id:
                return self._kept
            report = json.dumps({"token_id": refused.token_id})
            try:
                status, _, answer = self._ask("POST", "/v1/token/rejected", report)
                self._kept = _read(answer) if status == 200 else None
            except OSError:
                self._kept = None
            return self._kept

    def _first_token(self, late):
        pause = 0.05
        while True:
            try:
                status, retry_after, answer = self._ask("GET", "/v1/token")
                if status == 200:
                    return _read(answer)
                trouble = BearerdError(f"bearerd: {status} {_detail(answer)}")
                if status not in (429, 503):
                    raise trouble
                pause = max(pause, min(retry_after, 1.0))
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, BearerdError):
                    raise
                trouble = BearerdError(f"bearerd: {error}")
            if time.monotonic() + pause > late:
                raise trouble
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def _ask(self, method, path, body=None):
        headers = {"X-Bearerd": "1", "Content-Type": "application/json"}
        if self._access_token_file:
            with open(self._access_token_file, encoding="ascii") as file:
                headers["Authorization"] = f"Bearer {file.read().rstrip(chr(10))}"
        connection, base = self._connect()
        try:
            connection.request(method, base + path + self._query, body, headers)
            answer = connection.getresponse()
            retry_after = answer.getheader("Retry-After", "")
            seconds = float(retry_after) if retry_after.isdigit() else 0.0
            return answer.status, seconds, answer.read(_LARGEST)
        finally:
            connection.close()

    def _connect(self):
        trouble = None
        for place in [self._address] if self._address else _places():
            connection, base = _open(place)
            try:
                connection.connect()
                return connection, base
            except OSError as error:
                trouble = trouble or OSError(f"{place}: {error.strerror or error}")
        raise trouble


def _places():
    if path := os.environ.get("BEARERD_SOCKET"):
        return [f"unix:{path}"]
    if url := os.environ.get("BEARERD_URL"):
        return [url]
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")
    folders = [*runtime, "/run/bearerd", os.environ.get("XDG_RUNTIME_DIR")]
    return [f"unix:{folder}/bearerd.sock" for folder in folders if folder]


def _open(place):
    if place.startswith("unix:"):
        return _UnixConnection(place.removeprefix("unix:")), ""
    url = urllib.parse.urlsplit(place)
    secure = url.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return kind(url.hostname, url.port, timeout=_ANSWER_TIMEOUT), url.path.rstrip("/")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=_ANSWER_TIMEOUT)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


def _read(answer):
    answer = json.loads(answer)
    keep_until = time.monotonic() + 0.9 * answer["expires_in"]
    return Token(answer["bearer_token"], answer["token_id"], keep_until)


def _detail(answer):
    try:
        return json.loads(answer)["detail"]
    except (ValueError, KeyError, TypeError):
        return "no bearerd answers there"


def _is_refused(answer, token):
    # A redirect to another host takes the header away, and a 401 from there says nothing of the token.
    sent = answer.request.headers.get("Authorization")
    return answer.status_code == 401 and sent == f"Bearer {token.bearer_token}"


if requests:

    class RequestsAuth(requests.auth.AuthBase):
        """Puts the token into each call of a session."""

        def __init__(self, bearerd=None):
            self._bearerd = bearerd or Bearerd()

        def __call__(self, call):
            token = self._bearerd.token()
            call.headers["Authorization"] = f"Bearer {token.bearer_token}"
            start = getattr(call.body, "tell", lambda: None)()

            def after(answer, **settings):
                return self._once_more(answer, token, start, settings)

            call.register_hook("response", after)
            return call

        def _once_more(self, answer, refused, start, settings):
            call = answer.request
            if not _is_refused(answer, refused):
                return answer
            can_repeat = call.body is None or isinstance(call.body, (bytes, str)) or start is not None
            newer = self._bearerd.newer_than(refused)
            if not newer or not can_repeat:
                return answer
            answer.content  # so that its connection is free again
            answer.close()
            again = call.copy()
            if start is not None:
                again.body.seek(start)
            again.headers["Authorization"] = f"Bearer {newer.bearer_token}"
            second = answer.connection.send(again, **settings)
            second.history.append(answer)
            second.request = again
            return second


if httpx:

    class HttpxAuth(httpx.Auth):
        """Puts the token into each call of a client; bodies that stream are read first."""

        requires_request_body = True

        def __init__(self, bearerd=None):
            self._bearerd = bearerd or Bearerd()

        def sync_auth_flow(self, request):
            request.read()
            token = self._bearerd.token()
            answer = yield _bearing(request, token)
            if _is_refused(answer, token) and (newer := self._bearerd.newer_than(token)):
                yield _bearing(request, newer)

        async def async_auth_flow(self, request):
            await request.aread()
            in_thread = anyio.to_thread.run_sync
            token = await in_thread(self._bearerd.token)
            answer = yield _bearing(request, token)
            if _is_refused(answer, token) and (
                newer := await in_thread(self._bearerd.newer_than, token)
            ):
                yield _bearing(request, newer)

    def _bearing(request, token):
        request.headers["Authorization"] = f"Bearer {token.bearer_token}"
        return request
