"""The sandbox itself, for tests that go round the guardian's checks of the syntax tree."""

from __future__ import annotations

import textwrap

from kairos.agents.checks.sandbox.box import SandboxReport, SandboxResult, run_sandboxed
from kairos.agents.checks.task_tests import parse_tests

TESTS = "def test_answer():\n    assert answer() == 42\n"
MIB = 1 << 20


async def boxed(answer: str, tests: str = TESTS, *, seconds: float = 3, memory: int = 256 * MIB) -> SandboxReport:
    return await run_sandboxed(answer, parse_tests(tests).tests, seconds, memory)


async def result(answer: str, tests: str = TESTS, *, seconds: float = 3, memory: int = 256 * MIB) -> SandboxResult:
    """What came of the only test."""
    return (await boxed(answer, tests, seconds=seconds, memory=memory)).results[0]


async def inside(body: str, *, seconds: float = 3, memory: int = 256 * MIB) -> SandboxResult:
    """What came of these lines, run as a test: a submitter's tests are strangers too, and nothing watches them."""
    return await result("x = 1", "def test_it():\n" + textwrap.indent(body, "    "), seconds=seconds, memory=memory)
