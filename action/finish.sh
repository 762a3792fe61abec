#!/usr/bin/env bash
# `tollgate finish` with the action's inputs. Its exit status is the step's.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=action/common.sh
. "$here/common.sh"

for name in GITHUB_TOKEN TOLLGATE_LEDGER_TOKEN; do
  [ -n "${!name:-}" ] || unset "$name"
done
exec "$TOLLGATE" finish --outcome "${INPUT_OUTCOME:-success}"
