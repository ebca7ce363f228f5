"""Counts the service users of a team, with a token from bearerd."""

import os
import sys

import bearerd
import requests

TEAM = f"{os.environ['OKTAPAM_API_HOST']}/v1/teams/{os.environ['OKTAPAM_TEAM']}"


def checked(answer):
    if not answer.ok:
        sys.exit(f"{answer.url}: {answer.status_code} {answer.text}")
    return answer


def count_users():
    with requests.Session() as okta:
        okta.auth = bearerd.RequestsAuth()
        count, url = 0, f"{TEAM}/service_users"
        while url:
            page = checked(okta.get(url, timeout=30))
            count += len(page.json()["list"])
            url = page.links.get("next", {}).get("url")
        return count


try:
    print(count_users(), "service users")
except (bearerd.BearerdError, requests.RequestException) as error:
    sys.exit(str(error))
