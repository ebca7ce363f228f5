"""Counts the service users of a team, with a token from bearerd.

requests knows no unix sockets: this is for TCP, and httpx_with_token.py for both.
"""

import os
import sys

import requests

BEARERD = os.environ.get("BEARERD_URL", "http://127.0.0.1:8420")
TEAM = f"{os.environ['OKTAPAM_API_HOST']}/v1/teams/{os.environ['OKTAPAM_TEAM']}"


class FreshToken(requests.auth.AuthBase):
    """Asks bearerd before each call, which costs next to nothing, and never keeps the token."""

    def __init__(self):
        self.bearerd = requests.Session()
        self.bearerd.headers["X-Bearerd"] = "1"

    def __call__(self, call):
        token = checked(self.bearerd.get(f"{BEARERD}/v1/token?format=raw", timeout=30)).text
        call.headers["Authorization"] = f"Bearer {token}"
        return call


def checked(answer):
    if not answer.ok:
        sys.exit(f"{answer.url}: {answer.status_code} {answer.text}")
    return answer


def count_users():
    with requests.Session() as okta:
        okta.auth = FreshToken()
        count, url = 0, f"{TEAM}/service_users"
        while url:
            page = checked(okta.get(url, timeout=30))
            count += len(page.json()["list"])
            url = page.links.get("next", {}).get("url")
        return count


try:
    print(count_users(), "service users")
except requests.RequestException as error:
    sys.exit(str(error))
