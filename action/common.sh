# What the action's scripts share; sourced by each of them first.
# shellcheck shell=bash
set -euo pipefail

# An earlier step can set variables for every later one. Those that run code in a shell, or in what it
# starts, do not get further than here.
unset BASH_ENV ENV CDPATH GLOBIGNORE LD_PRELOAD LD_AUDIT DYLD_INSERT_LIBRARIES NODE_OPTIONS

# A message may quote an input: as a workflow command it stays one line.
say() { printf 'tollgate: %s\n' "$*" >&2; }
die() {
  local text=$*
  text=${text//'%'/%25}
  text=${text//$'\r'/%0D}
  printf '::error title=Tollgate::%s\n' "${text//$'\n'/%0A}"
  exit 2
}

# A step output of one line.
put() { # NAME VALUE
  case $2 in *$'\n'* | *$'\r'*) die "the $1 holds the end of a line, so it cannot be passed on" ;; esac
  printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

is_true() { # NAME VALUE
  case $2 in
    true) return 0 ;;
    false | '') return 1 ;;
    *) die "$1: \`$2\` is neither \`true\` nor \`false\`" ;;
  esac
}
