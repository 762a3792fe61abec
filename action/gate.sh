#!/usr/bin/env bash
# `tollgate gate` with the action's inputs. Its exit status is the step's.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=action/common.sh
. "$here/common.sh"

args=()
[ -z "${INPUT_BUDGET_FILE:-}" ] || args+=(--budget-file "$INPUT_BUDGET_FILE")
if is_true simulate "${INPUT_SIMULATE:-}"; then args+=(--simulate); fi
for name in GITHUB_TOKEN TOLLGATE_LEDGER_TOKEN; do
  [ -n "${!name:-}" ] || unset "$name"
done
exec "$TOLLGATE" gate ${args[@]+"${args[@]}"}
