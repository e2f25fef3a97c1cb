"""Runs the sandbox in a separate process, so that a test can choose the host: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from kairos.agents.checks.sandbox.launcher import SandboxTests, run_sandboxed


async def main() -> None:
    """Read runs from stdin and write their reports to stdout.

    Runs are `[{"answer", "tests", "seconds", "memory"}, …]`, reports `[{"way", "lacks", "results"}, …]`. The tests are
    already parsed, because parsing takes imports that cost more than a run.
    """
    reports = []
    for run in json.load(sys.stdin):
        report = await run_sandboxed(run["answer"], tests_of(run["tests"]), run["seconds"], run["memory"])
        results = [[result.passed, result.message] for _, result in sorted(report.results.items())]
        reports.append({"way": report.method, "lacks": report.unavailable_reason, "results": results})
    json.dump(reports, sys.stdout)


def tests_of(value: dict[str, Any]) -> SandboxTests:
    calls = tuple((name, line, number) for name, line, number in value["calls"])
    return SandboxTests(value["source"], dict(value["statements"]), calls, tuple(value["left_out"]))


if __name__ == "__main__":
    asyncio.run(main())
