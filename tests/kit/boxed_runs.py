"""Runs of the sandbox in a process of its own, so that the host under it can be another: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from kairos.agents.checks.sandbox.box import SandboxTests, run_sandboxed


async def main() -> None:
    """Runs as JSON: `[{"answer", "tests", "seconds", "memory"}, …]`, to reports: `[{"way", "lacks", "results"}, …]`.

    The plan of the tests comes with them: to work it out takes imports that cost more than a run.
    """
    said = []
    for run in json.load(sys.stdin):
        report = await run_sandboxed(run["answer"], tests_of(run["tests"]), run["seconds"], run["memory"])
        results = [[result.passed, result.message] for _, result in sorted(report.results.items())]
        said.append({"way": report.method, "lacks": report.unavailable_reason, "results": results})
    json.dump(said, sys.stdout)


def tests_of(told: dict[str, Any]) -> SandboxTests:
    calls = tuple((name, line, number) for name, line, number in told["calls"])
    return SandboxTests(told["source"], dict(told["statements"]), calls, tuple(told["left_out"]))


if __name__ == "__main__":
    asyncio.run(main())
