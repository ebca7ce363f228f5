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
