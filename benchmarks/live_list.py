"""Whether the task list stays responsive while a thousand tasks change.

Run: python -m benchmarks.live_list [--tasks N] [--seconds N]

A Chromium browser (software rendering, on the machine that also runs the daemon and its models) shows /tasks while the
tasks run. Gaps between animation frames are measured in the page; the reference in the same run is the same page
without changes. Long tasks are the browser's own count of blocks of its main thread of more than 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from kairos.cli.client import runtime
from tests.kit.browser import Visitor, browsing
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.engines import engines_for_tests
from tests.kit.model_server import ModelServer, ScriptedModel

HEAD = ("", "frames", "p99 ms", "longest ms", "over 100 ms", "long tasks", "longest task", "events")
WATCH = """(seconds) => new Promise((resolve) => {
  const gaps = [], tasks = [];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)));
  observer.observe({entryTypes: ['longtask']});
  let last = performance.now();
  const end = last + seconds * 1000;
  const frame = (now) => {
    gaps.push(now - last); last = now;
    if (now < end) requestAnimationFrame(frame);
    else { observer.disconnect(); resolve({gaps, tasks}); }
  };
  requestAnimationFrame((now) => { last = now; requestAnimationFrame(frame); });
})"""
PASSWORD = "a long passphrase"


def row(name: str, seen: dict[str, list[float]], events: int | None) -> tuple[str, ...]:
    gaps, tasks = sorted(seen["gaps"]), seen["tasks"]
    over = sum(gap > 100 for gap in gaps)
    figures = (f"{gaps[int(len(gaps) * 0.99)]:.0f}", f"{gaps[-1]:.0f}", str(over), str(len(tasks)))
    longest = f"{max(tasks):.0f} ms" if tasks else "-"
    return name, str(len(gaps)), *figures, longest, "-" if events is None else f"{events:,}"


async def main(given: Any) -> None:
    print(f"load average before: {', '.join(f'{load:.2f}' for load in os.getloadavg())} on {os.cpu_count()} CPUs")
    print("  ".join(f"{name:>12}" for name in HEAD), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        async with engines_for_tests(folder / "engines") as addresses, ModelServer() as server:
            server.add(ScriptedModel("echo", answer="hello", first_token_s=0.2))
            models = [{"name": "echo", "base_url": server.base_url, "local": True, "context": 8192}]
            settings = on_engines(addresses, models=models, max_concurrent_tasks=8)
            daemon = await DaemonProcess(folder / "daemon", settings).start()
            try:
                await look(daemon, given)
            finally:
                await daemon.stop()


async def look(daemon: DaemonProcess, given: Any) -> None:
    address = runtime(daemon.folder / "data")["address"]
    await eventually(lambda: "/setup#" in daemon.log, 10, "the link of the first start")
    token = daemon.log.split("/setup#")[1].split()[0]
    daemon.client().open("POST", "/api/auth/setup", {"token": token, "password": PASSWORD})
    async with browsing() as browser, Visitor.in_new_context(browser, address) as visitor:
        events: list[int] = []
        visitor.page.on("websocket", lambda ws: ws.on("framereceived", lambda _: events.append(1)))
        await visitor.sign_in("admin@localhost", PASSWORD)
        await visitor.open("/tasks")
        print("  ".join(f"{v:>12}" for v in row("at rest", await visitor.page.evaluate(WATCH, 5), None)), flush=True)
        submitting = asyncio.create_task(submit(daemon, given.tasks))
        await asyncio.sleep(2)
        before = len(events)
        seen = await visitor.page.evaluate(WATCH, given.seconds)
        print("  ".join(f"{v:>12}" for v in row("streaming", seen, len(events) - before)), flush=True)
        await submitting


async def submit(daemon: DaemonProcess, count: int) -> None:
    client = daemon.client()
    client.sign_in()
    for number in range(count):
        await asyncio.to_thread(client.post, "/api/tasks", {"prompt": f"Say hello {number}", "lane": "batch"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    asyncio.run(main(parser.parse_args()))
