#!/bin/sh
# A session as a person has it: from nothing to a token and back. It needs nothing but `bearerd`
# and an empty directory to work in. What it prints is compared with `session.expected`.
set -u

# Shows a command, what it says, and how it ends.
try() {
  printf '$ %s\n' "$*"
  "$@" 2>&1
  printf '=> %s\n\n' "$?"
}

# An issuer of our own, which writes down a key that it takes.
touch issuer.out
bearerd emulator --key-file issued.json --lifetime 1h >issuer.out 2>&1 &
issuer=$!
trap 'kill $issuer' EXIT
until grep -q 'http://127' issuer.out; do sleep 0.1; done
url=$(grep -o 'http://127[0-9.:]*' issuer.out | head -n 1)
id=$(sed 's/.*"key_id": *"\([^"]*\)".*/\1/' issued.json)
secret=$(sed 's/.*"key_secret": *"\([^"]*\)".*/\1/' issued.json)

echo '# What is there to be done without anything?'
try bearerd token --config bearerd.toml
try bearerd init --dir . --base-url "$url" --team acme --key-id "$id" --key-secret "oops"

echo '# A first configuration, the secret on standard input.'
echo "$secret" | try bearerd init --dir . --base-url "$url" --team acme --key-id "$id" --key-secret-stdin
try bearerd init --dir . --base-url "$url" --team acme --key-id "$id" --key-secret-stdin
try bearerd check --quiet --config bearerd.toml
try bearerd check --quiet --online --config bearerd.toml
try bearerd run --once --config bearerd.toml --set log.level=off

echo '# Before the daemon runs.'
try bearerd wait --timeout 100ms --config bearerd.toml
try bearerd status --config bearerd.toml

echo '# It runs, and somebody waits for it already.'
bearerd wait --timeout 1m --config bearerd.toml &
waiting=$!
bearerd run --config bearerd.toml --set telemetry.bind=tcp:127.0.0.1:0 2>run.log &
daemon=$!
wait $waiting
printf '=> %s\n\n' "$?"
try bearerd token --format header --config bearerd.toml
try bearerd token --format env --min-ttl 5m --config bearerd.toml
try bearerd exec --config bearerd.toml -- sh -c 'test -n "$OKTA_BEARER_TOKEN" && echo has a token; exit 7'
try bearerd refresh --config bearerd.toml
try bearerd status --config bearerd.toml
try bearerd users list --config bearerd.toml

echo '# The end.'
try bearerd quit --config bearerd.toml
wait $daemon
printf '=> %s\n\n' "$?"
try bearerd quit --config bearerd.toml
ls
