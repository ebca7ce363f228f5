"""Counts the service users of a team, with a token from bearerd."""

import os
import sys

import bearerd
import httpx

TEAM = f"{os.environ['OKTAPAM_API_HOST']}/v1/teams/{os.environ['OKTAPAM_TEAM']}"


def checked(answer):
    if not answer.is_success:
        sys.exit(f"{answer.url}: {answer.status_code} {answer.text}")
    return answer


def count_users():
    with httpx.Client(auth=bearerd.HttpxAuth(), timeout=30) as okta:
        count, url = 0, f"{TEAM}/service_users"
        while url:
            page = checked(okta.get(url))
            count += len(page.json()["list"])
            url = page.links.get("next", {}).get("url")
        return count


try:
    print(count_users(), "service users")
except bearerd.BearerdError as error:
    sys.exit(str(error))
except httpx.HTTPError as error:
    sys.exit(f"{error.request.url}: {error}")
