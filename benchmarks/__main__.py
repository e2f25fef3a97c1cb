"""`make bench`: run each benchmark in this folder and print its table."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
SHARED = ("learning_bench.py", "learning_run.py")
"""Files that only other benchmarks import."""


def main() -> int:
    failed = []
    for script in sorted(path for path in FOLDER.glob("[a-z]*.py") if path.name not in SHARED):
        began = time.monotonic()
        print(f"\n== {script.name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{script.stem}"], cwd=FOLDER.parent, check=False)
        print(f"-- {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(script.name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
