#!/usr/bin/env bash
# Installs the agent that the budget file names, where it is missing, and puts the folder of its program
# into the output `path`. What a command is, its own workflow installs.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=action/common.sh
. "$here/common.sh"

# For tollgate alone: what a package runs while it is installed has no business with it.
token=${GITHUB_TOKEN:-}
unset GITHUB_TOKEN

if is_true simulate "${INPUT_SIMULATE:-}" || [ -n "${INPUT_COMMAND:-}" ]; then
  exit 0
fi

program='' manager='' package='' version='' with=''
args=()
[ -z "${INPUT_BUDGET_FILE:-}" ] || args+=(--budget-file "$INPUT_BUDGET_FILE")
# Assigned first: a failure in a here-string would go unnoticed.
answer=$(GITHUB_TOKEN=$token "$TOLLGATE" preset ${args[@]+"${args[@]}"})
while IFS='=' read -r name value; do
  case $name in
    program) program=$value ;;
    manager) manager=$value ;;
    package) package=$value ;;
    version) version=$value ;;
    with) with=$value ;;
  esac
done <<<"$answer"
[ -n "$program" ] || exit 0

asked=${INPUT_AGENT_VERSION:-}
if [ -n "$asked" ]; then
  [[ $asked =~ ^[0-9A-Za-z][0-9A-Za-z.+-]*$ ]] || die "agent-version: \`$asked\` is no version"
  version=$asked
elif found=$(command -v "$program"); then
  say "the agent is $found"
  exit 0
fi

# In a folder of this job's own, and started there: the checkout's .npmrc must not choose the registry.
folder=$RUNNER_TEMP/tollgate/agent
mkdir -p "$folder"
cd "$folder"
case $manager in
  npm)
    command -v npm >/dev/null || die "the agent $package is installed with npm, which is not on PATH; install Node.js, or the agent, in an earlier step"
    npm install --silent --no-fund --no-audit --prefix "$folder" "$package@$version" >&2 </dev/null ||
      die "npm could not install $package@$version"
    path=$folder/node_modules/.bin
    ;;
  pip)
    command -v python3 >/dev/null || die "the agent $package is installed with pip, and python3 is not on PATH; install Python, or the agent, in an earlier step"
    python3 -m venv "$folder/python" >&2 </dev/null || die 'python3 could not make a virtual environment'
    # What it needs besides is one word each.
    read -r -a beside <<<"$with"
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check "$package==$version" \
      ${beside[@]+"${beside[@]}"} >&2 </dev/null ||
      die "pip could not install $package==$version"
    path=$folder/python/bin
    ;;
  *) die "the agent $package is installed with \`$manager\`, which this action does not know" ;;
esac
[ -x "$path/$program" ] || die "$package@$version was installed and has no program \`$program\`"
say "installed $package@$version"
put path "$path"
