"""Run code in the sandbox directly, without the guardian's checks of the syntax tree."""

from __future__ import annotations

import textwrap

from kairos.agents.checks.sandbox.launcher import SandboxReport, SandboxResult, run_sandboxed
from kairos.agents.checks.task_tests import parse_tests

TESTS = "def test_answer():\n    assert answer() == 42\n"
MIB = 1 << 20


async def run_in_sandbox(
    answer: str, tests: str = TESTS, *, seconds: float = 3, memory: int = 256 * MIB
) -> SandboxReport:
    return await run_sandboxed(answer, parse_tests(tests).tests, seconds, memory)


async def result(answer: str, tests: str = TESTS, *, seconds: float = 3, memory: int = 256 * MIB) -> SandboxResult:
    """Return the result of the only test."""
    return (await run_in_sandbox(answer, tests, seconds=seconds, memory=memory)).results[0]


async def run_as_test(body: str, *, seconds: float = 3, memory: int = 256 * MIB) -> SandboxResult:
    """Run these lines as a test and return its result. Submitted tests are untrusted and unchecked."""
    return await result("x = 1", "def test_it():\n" + textwrap.indent(body, "    "), seconds=seconds, memory=memory)
