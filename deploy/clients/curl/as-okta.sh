#!/usr/bin/env bash
# Counts the service users of a team, and knows nothing but Okta. Needs curl 7.84 and jq.
set -euo pipefail
team=$OKTAPAM_API_HOST/v1/teams/$OKTAPAM_TEAM

# Leaves the body and, as a last line, the Link header in $answer. No secret is an argument of
# curl: every user of the machine could read it there.
ask() { # CURL-ARGUMENTS…
  answer=$(curl -sS --fail-with-body --max-time 30 -w '\nLink: %header{link}' "$@") || {
    echo "${answer%$'\n'*}" >&2
    exit 1
  }
}

ask -H 'Content-Type: application/json' -d @- "$team/service_token" \
  <<<"{\"key_id\": \"$OKTAPAM_KEY\", \"key_secret\": \"$OKTAPAM_SECRET\"}"
token=$(jq -r .bearer_token <<<"${answer%$'\n'*}")

count=0
next=$team/service_users
while [ -n "$next" ]; do
  ask -H @- "$next" <<<"Authorization: Bearer $token"
  count=$((count + $(jq '.list | length' <<<"${answer%$'\n'*}")))
  next=$(sed -n '$s/^Link: <\([^>]*\)>; rel="next".*/\1/p' <<<"$answer")
done
echo "$count service users"
