"""Fail where a source file is longer than it may be. 300 lines are wished for, 500 are the limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WISH, LIMIT = 300, 500
EXCEPTIONS = {"dashboard/src/api/schema.d.ts": "generated from the OpenAPI file"}
"""Path -> why this file may be longer."""


def main() -> int:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py", "*.ts", "*.tsx", "*.lua"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    lengths = {path: len(Path(path).read_text().splitlines()) for path in tracked if Path(path).exists()}
    over = {path: n for path, n in lengths.items() if n > LIMIT and path not in EXCEPTIONS}
    stale = [path for path in EXCEPTIONS if lengths.get(path, 0) <= LIMIT]
    for path, n in sorted(over.items()):
        print(f"{path}: {n} lines, the limit is {LIMIT}. Split it by what its parts are about.")
    for path in stale:
        print(f"{path}: no exception is needed any more.")
    wished = sum(n > WISH for n in lengths.values())
    print(f"file sizes: {len(lengths)} files, {wished} over the wished {WISH} lines, {len(over)} over {LIMIT}")
    return 1 if over or stale else 0


if __name__ == "__main__":
    sys.exit(main())
