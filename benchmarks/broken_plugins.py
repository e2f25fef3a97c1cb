"""How much broken plugins delay a start: a daemon with a dozen of them next to working ones, and the same daemon
without.

Run: python -m benchmarks.broken_plugins [--starts N]

One never finishes its import and gets 5 s (`plugins.probe_s`), one exhausts memory. All are probed concurrently in
disposable processes while the daemon starts its other parts. The limit is 6 s more than without them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from statistics import median

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.engines import engines_for_tests
from tests.kit.plugins import BROKEN, GOOD, put

LIMIT_S = 6.0


async def ready_s(addresses: Addresses, folder: Path, plugins: dict[str, str]) -> float:
    daemon = DaemonProcess(folder, on_engines(addresses))
    put(daemon.folder / "plugins", plugins)
    await daemon.start()
    taken = runtime(daemon.folder / "data")["ready_s"]
    await daemon.stop()
    return taken


async def main(folder: Path, starts: int) -> int:
    broken = {**GOOD, **{name: text for name, (text, _) in BROKEN.items()}}
    without, beside = [], []
    async with engines_for_tests(folder / "engines") as addresses:
        for number in range(starts):
            without.append(await ready_s(addresses, folder / f"without-{number}", {}))
            beside.append(await ready_s(addresses, folder / f"with-{number}", broken))
    later = [a - b for a, b in zip(beside, without, strict=True)]
    print(f"{'start':>5} {'without':>9} {f'with {len(BROKEN)} broken':>15} {'later':>8}")
    for number, (less, more, difference) in enumerate(zip(without, beside, later, strict=True), 1):
        print(f"{number:>5} {less:>7.2f} s {more:>13.2f} s {difference:>6.2f} s")
    print(f"median {median(later):.2f} s, longest {max(later):.2f} s of {LIMIT_S:g} s allowed")
    return 1 if median(later) > LIMIT_S else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=5)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as another user if this process is root
        raise SystemExit(asyncio.run(main(Path(name), parser.parse_args().starts)))
