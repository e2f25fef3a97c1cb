"""Fail if a source file exceeds the limit of 500 lines. The target is 300."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TARGET, LIMIT = 300, 500
EXCEPTIONS = {"dashboard/src/api/schema.d.ts": "generated from the OpenAPI file"}
"""Path -> reason for the exception."""


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
        print(f"{path}: {n} lines, the limit is {LIMIT}. Split it by topic.")
    for path in stale:
        print(f"{path}: the exception is no longer needed.")
    long = sum(n > TARGET for n in lengths.values())
    print(f"file sizes: {len(lengths)} files, {long} over the target of {TARGET} lines, {len(over)} over {LIMIT}")
    return 1 if over or stale else 0


if __name__ == "__main__":
    sys.exit(main())
