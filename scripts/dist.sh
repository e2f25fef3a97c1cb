#!/usr/bin/env bash
# Build the wheel and the source distribution, both with the built dashboard, into the folder $1 (default: dist).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
if [ ! -f src/kairos/dashboard_files/index.html ]; then
    echo "The dashboard is not built, and the wheel would be without it: run \`make dist\` or \`make dashboard\`" >&2
    exit 1
fi
rm -f "$out"/kairos_loop-*
.venv/bin/uv build --quiet --out-dir "$out" # the wheel is built from the source distribution
ls -l "$out"/kairos_loop-*
