"""How long a changed value takes until every daemon has applied it, with Redis and without.

Run: python -m benchmarks.live_configuration

Three daemons share the same engines. `max_concurrent_tasks` is changed through one of them, and another is polled until
all three have reported the new version. The reference is the limit of two seconds.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.engines import engines_for_tests
from tests.kit.valkey import ValkeyServer

CHANGES = 10
LIMIT_S = 2.0


async def measure(daemons: list[DaemonProcess]) -> list[float]:
    """Return the seconds from the reply to each change until all daemons report it."""
    first, last = daemons[0].client(), daemons[-1].client()
    taken = []
    for number in range(CHANGES):
        known = await asyncio.to_thread(first.get, "/api/config")
        body = {"changes": {"max_concurrent_tasks": 3 + number % 2}, "version": known["version"]}
        version = (await asyncio.to_thread(first.call, "PATCH", "/api/config", body))["version"]
        began = time.monotonic()
        while not await asyncio.to_thread(_all_run, last, version, len(daemons)):
            await asyncio.sleep(0.02)
        taken.append(time.monotonic() - began)
    return taken


def _all_run(client, version: int, daemons: int) -> bool:
    items = client.get("/api/daemons")["items"]
    return sum(item["alive"] and item["config_version"] == version for item in items) == daemons


async def main(folder: Path) -> None:
    valkey = ValkeyServer()
    valkey.start()
    async with engines_for_tests(folder / "engines") as addresses:
        settings = on_engines(replace(addresses, redis_url=valkey.url))
        daemons = [DaemonProcess(folder / name, settings) for name in "abc"]
        try:
            for daemon in daemons:
                await daemon.start()
            print(f"{'':<16} {'median':>8} {'longest':>8} {'of the limit':>13}")
            show("with Redis", await measure(daemons))
            valkey.kill()
            show("without Redis", await measure(daemons))
        finally:
            for daemon in daemons:
                await daemon.stop()
            valkey.close()


def show(label: str, taken: list[float]) -> None:
    print(f"{label:<16} {median(taken):>6.2f} s {max(taken):>6.2f} s {max(taken) / LIMIT_S:>13.2f}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as another user if this process is root
        asyncio.run(main(Path(name)))
