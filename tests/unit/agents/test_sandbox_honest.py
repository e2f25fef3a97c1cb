"""Honest code passes honest tests of every kind, although they run in two processes."""

from __future__ import annotations

import textwrap

import pytest

from tests.unit.agents import honest_objects, honest_values
from tests.unit.agents.boxes import MIB, result, run_in_sandbox

CASES = {**honest_objects.CASES, **honest_values.CASES}


@pytest.mark.parametrize(("answer", "tests"), CASES.values(), ids=CASES.keys())
async def test_honest_tests_pass(answer: str, tests: str):
    outcome = await result(answer, f"def test_it():\n{textwrap.indent(tests, '    ')}", seconds=20, memory=512 * MIB)
    assert outcome.passed, outcome.message


@pytest.mark.parametrize(("answer", "tests"), CASES.values(), ids=CASES.keys())
async def test_honest_tests_run_to_the_end(answer: str, tests: str):
    """An appended assertion fails, so the assertions before it were not skipped."""
    source = f"def test_it():\n{textwrap.indent(tests, '    ')}\n    assert not True"
    outcome = await result(answer, source, seconds=20, memory=512 * MIB)
    assert "`not True` does not hold" in outcome.message


async def test_calls_are_cheap_enough_for_loops():
    """Ten thousand calls fit into the time limit."""
    tests = "def test_f():\n    assert sum(f(x) for x in range(10_000)) == 49_995_000"
    assert (await result("def f(x): return x", tests, seconds=20)).passed


async def test_million_elements_can_be_passed_and_returned():
    tests = """
def test_f():
    xs = list(range(1_000_000))
    assert f(xs)[-1] == 999_999
    assert len(f(xs)) == 1_000_000
"""
    outcome = await result("def f(xs): return [x for x in xs]", tests, seconds=20, memory=1024 * MIB)
    assert outcome.passed, outcome.message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("def f(): return 'x' * (40 << 20)", "more than 32 MiB"),
        ("def f():\n    x = []\n    for _ in range(200): x = [x]\n    return x", "nested deeper than 100 levels"),
    ],
)
async def test_value_that_is_too_large_is_refused_with_a_reason(answer: str, reason: str):
    outcome = await result(answer, "def test_f():\n    assert f()", seconds=20, memory=1024 * MIB)
    assert reason in outcome.message


async def test_line_of_the_answer_that_raised_is_reported():
    outcome = await result("def f():\n    x = 1\n    raise ValueError('x')", "def test_f():\n    f()")
    assert outcome.line == 3
    assert "raised ValueError: x" in outcome.message


async def test_threads_of_the_tests_and_the_answer_work_together():
    answer = """
import threading
class Counter:
    def __init__(self): self.n, self.lock = 0, threading.Lock()
    def add(self):
        with self.lock: self.n += 1
def spread(f, n):
    threads = [threading.Thread(target=f) for _ in range(n)]
    for t in threads: t.start()
    for t in threads: t.join()
"""
    tests = """
import threading
def test_counter():
    c = Counter()
    threads = [threading.Thread(target=lambda: [c.add() for _ in range(20)]) for _ in range(5)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert c.n == 100
def test_callbacks():
    calls = []
    spread(lambda: calls.append(1), 5)
    assert calls == [1] * 5
"""
    report = await run_in_sandbox(answer, tests, seconds=20, memory=512 * MIB)
    assert [outcome.message for outcome in report.results.values()] == ["", ""]
