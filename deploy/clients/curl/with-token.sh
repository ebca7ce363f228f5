#!/usr/bin/env bash
# Counts the service users of a team, with a token from bearerd. Needs curl 7.84 and jq.
set -euo pipefail

if [ -n "${BEARERD_SOCKET:-}" ]; then
  bearerd=(--unix-socket "$BEARERD_SOCKET" 'http://localhost/v1/token?format=header')
else
  bearerd=(-H 'X-Bearerd: 1' "${BEARERD_URL:-http://127.0.0.1:8420}/v1/token?format=header")
fi

# Leaves the body and, as a last line, the Link header in $answer. No secret is an argument of
# curl: every user of the machine could read it there.
ask() { # CURL-ARGUMENTS…
  answer=$(curl -sS --fail-with-body --max-time 30 -w '\nLink: %header{link}' "$@") || {
    echo "${answer%$'\n'*}" >&2
    exit 1
  }
}

count=0
next=$OKTAPAM_API_HOST/v1/teams/$OKTAPAM_TEAM/service_users
while [ -n "$next" ]; do
  # Asked for before each call, which costs next to nothing, and never kept.
  ask "${bearerd[@]}"
  ask -H @- "$next" <<<"${answer%%$'\n'*}"
  count=$((count + $(jq '.list | length' <<<"${answer%$'\n'*}")))
  next=$(sed -n '$s/^Link: <\([^>]*\)>; rel="next".*/\1/p' <<<"$answer")
done
echo "$count service users"
