#!/usr/bin/env bash
# `tollgate start` with the action's inputs. Its exit status is the step's.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=action/common.sh
. "$here/common.sh"

args=()
[ -z "${INPUT_TASK:-}" ] || args+=(--task "$INPUT_TASK")
[ -z "${INPUT_BUDGET_FILE:-}" ] || args+=(--budget-file "$INPUT_BUDGET_FILE")
if is_true simulate "${INPUT_SIMULATE:-}"; then args+=(--simulate); fi
if is_true export-env "${INPUT_EXPORT_ENV:-}"; then args+=(--export-env); fi
# An empty key is no key.
for name in ANTHROPIC_API_KEY CLAUDE_CODE_OAUTH_TOKEN OPENAI_API_KEY GEMINI_API_KEY GITHUB_TOKEN TOLLGATE_LEDGER_TOKEN TOLLGATE_COMMENT_KEY; do
  [ -n "${!name:-}" ] || unset "$name"
done
exec "$TOLLGATE" start ${args[@]+"${args[@]}"}
