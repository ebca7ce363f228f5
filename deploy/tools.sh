# shellcheck shell=bash
# What the checks beside this file share; it is sourced.

skipped=0

# Tells whether a command is there; one that is missing is named and counted.
has() { # COMMAND
  command -v "$1" >/dev/null && return
  skip "$1 is not installed"
}

# Names and counts what cannot be checked here.
skip() { # REASON
  echo "SKIPPED: $1"
  skipped=$((skipped + 1))
  return 1
}

fail() { # REASON
  echo "FAILED: $1" >&2
  exit 1
}

# Prints what a command prints, once it succeeds and prints anything; in $patience_s at most.
soon() { # COMMAND…
  local said end=$((SECONDS + ${patience_s:-10}))
  while [ "$SECONDS" -le "$end" ]; do
    said=$("$@" 2>/dev/null) && [ -n "$said" ] && echo "$said" && return
    sleep 0.1
  done
  fail "nothing came of: $*"
}

# Prints the first block of commands below a heading of a page.
commands_of() { # PAGE HEADING
  awk -v head="## $2" '/^## / { inside = $0 == head; begun = 0 }
    inside && $0 == "```" { exit }
    inside && begun { print }
    inside && $0 == "```sh" { begun = 1 }' "$1" | grep . || fail "$1: no commands below «$2»"
}

# Ends what this shell has started, and takes a directory away.
finish() { # DIRECTORY
  local running
  mapfile -t running < <(jobs -pr)
  [ ${#running[@]} = 0 ] || kill "${running[@]}" || true
  wait
  rm -rf "$1"
}
