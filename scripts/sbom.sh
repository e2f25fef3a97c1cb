#!/usr/bin/env bash
# Write a software bill of materials (CycloneDX, JSON) for the Python packages and one for the dashboard, into $1 (dist).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
mkdir -p "$out"
out=$(cd "$out" && pwd)
# cyclonedx-bom, in an environment of its own, because it is not needed to develop or test Kairos.
cat requirements/kairos.lock src/kairos/embedded/weights.lock |
    .venv/bin/uv tool run --quiet --from 'cyclonedx-bom==7.5.0' cyclonedx-py requirements --pyproject pyproject.toml \
        --mc-type application --output-reproducible --of JSON --output-file "$out/kairos-python.cdx.json" -
cd dashboard
../scripts/node.sh npx --yes @cyclonedx/cyclonedx-npm@6.0.1 --package-lock-only --omit dev --mc-type application \
    --output-reproducible --output-format JSON --output-file "$out/kairos-dashboard.cdx.json"
ls -l "$out"/*.cdx.json
