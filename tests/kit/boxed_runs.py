"""Runs of the sandbox in a process of its own, so that the host under it can be another: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import sys

from kairos.agents.checks.sandbox.box import run_sandboxed
from kairos.agents.checks.task_tests import parse_tests


async def main() -> None:
    """Runs as JSON: `[{"answer", "tests", "seconds", "memory"}, …]`, to reports: `[{"way", "lacks", "results"}, …]`."""
    said = []
    for run in json.load(sys.stdin):
        report = await run_sandboxed(run["answer"], parse_tests(run["tests"]).tests, run["seconds"], run["memory"])
        results = [[result.passed, result.message] for _, result in sorted(report.results.items())]
        said.append({"way": report.method, "lacks": report.unavailable_reason, "results": results})
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
