"""Start time of `kairos start` with an existing data folder, and idle memory of all processes.

Run: python -m benchmarks.startup [--starts N]. The reference in the same run is a bare interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kairos.cli.memory import Memory, memory
from tests.kit.daemon_process import DaemonProcess

IDLE_S = 3


async def measure(folder: Path, starts: int) -> tuple[float, list[float], Memory | None]:
    """Return the seconds of the first start and of each later one, and the memory in MB (PSS) when idle."""
    first, later, usage = 0.0, [], None
    for number in range(starts + 1):
        daemon = DaemonProcess(folder, {})
        began = time.monotonic()
        await daemon.start()
        took = time.monotonic() - began
        if number:
            later.append(took)
        else:
            first = took
        await asyncio.sleep(IDLE_S)
        usage = memory(daemon.process.pid)
        await daemon.stop()
    return first, later, usage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    starts = parser.parse_args().starts
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import asyncio"], check=True)
    bare = time.monotonic() - began
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        first, later, usage = asyncio.run(measure(Path(name), starts))
    print(f"bare interpreter       {bare:6.2f} s")
    print(f"first start to ready   {first:6.2f} s")
    print(f"later starts to ready  {statistics.median(later):6.2f} s median of {starts} ({max(later):.2f} at most)")
    if usage:
        sizes = ", ".join(f"{name} {size:.0f}" for name, size in usage.sizes.items())
        print(f"{f'idle memory, {usage.measure}':<23}{sizes}")


if __name__ == "__main__":
    main()
