"""Counts the service users of a team, with a token from bearerd."""

import os
import sys

import httpx

SOCKET = os.environ.get("BEARERD_SOCKET")
BEARERD = os.environ.get("BEARERD_URL", "http://127.0.0.1:8420")
TEAM = f"{os.environ['OKTAPAM_API_HOST']}/v1/teams/{os.environ['OKTAPAM_TEAM']}"


class FreshToken(httpx.Auth):
    """Asks bearerd before each call, which costs next to nothing, and never keeps the token."""

    def __init__(self):
        if SOCKET:
            over_socket = httpx.HTTPTransport(uds=SOCKET)
            self.bearerd = httpx.Client(transport=over_socket, base_url="http://localhost")
        else:
            self.bearerd = httpx.Client(base_url=BEARERD, headers={"X-Bearerd": "1"})

    def auth_flow(self, request):
        token = checked(self.bearerd.get("/v1/token?format=raw")).text
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def checked(answer):
    if not answer.is_success:
        sys.exit(f"{answer.url}: {answer.status_code} {answer.text}")
    return answer


def count_users():
    with httpx.Client(auth=FreshToken(), timeout=30) as okta:
        count, url = 0, f"{TEAM}/service_users"
        while url:
            page = checked(okta.get(url))
            count += len(page.json()["list"])
            url = page.links.get("next", {}).get("url")
        return count


try:
    print(count_users(), "service users")
except httpx.HTTPError as error:
    sys.exit(f"{error.request.url}: {error}")
