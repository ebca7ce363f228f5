"""Counts the service users of a team, and knows nothing but Okta."""

import os
import sys

import httpx

TEAM = f"{os.environ['OKTAPAM_API_HOST']}/v1/teams/{os.environ['OKTAPAM_TEAM']}"
KEY = {"key_id": os.environ["OKTAPAM_KEY"], "key_secret": os.environ["OKTAPAM_SECRET"]}


def checked(answer):
    if not answer.is_success:
        sys.exit(f"{answer.url}: {answer.status_code} {answer.text}")
    return answer


def count_users():
    with httpx.Client(timeout=30) as okta:
        grant = checked(okta.post(f"{TEAM}/service_token", json=KEY)).json()
        okta.headers["Authorization"] = f"Bearer {grant['bearer_token']}"
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
