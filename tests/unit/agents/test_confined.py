"""Small inputs that would block a daemon are refused with a reason, and the event loop continues meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable
from typing import Any

import psutil
import pytest

from kairos.agents.base import AttemptContext
from kairos.agents.checks import confined as confining
from kairos.agents.checks.answer_format import AnswerFormat
from kairos.agents.checks.confined import ConfinedBusy, TooMuchWork, confined
from kairos.agents.checks.json_schema import accept_schema, check_schema
from kairos.agents.checks.task_tests import accept_tests
from kairos.agents.guardian import GuardianAgent
from kairos.errors import InvalidInput
from tests.kit.drafts import errors, judged, python, task

MOST_CPU_S = 0.5
"""Processor time of the event loop's thread. Some of these inputs would take it minutes."""


def finally_deep(levels: int, inner: str = "x = 1") -> str:
    lines = ["def test_it():"]
    for depth in range(levels):
        lines += ["    " * (depth + 1) + "try: pass", "    " * (depth + 1) + "finally:"]
    return "\n".join([*lines, "    " * (levels + 1) + inner, "    assert f() == 1"])


def nested(levels: int, inner: Any, wrap: Any) -> Any:
    for _ in range(levels):
        inner = wrap(inner)
    return inner


CODE = {
    "finally": finally_deep(17),
    "finally with returns": finally_deep(15, "return"),
    "finally in loops": "def test_it():\n"
    + "\n".join(
        "    " * (2 * d + 1)
        + "for x in y:\n"
        + "    " * (2 * d + 2)
        + "try: continue\n"
        + "    " * (2 * d + 2)
        + "finally:"
        for d in range(12)
    )
    + "\n"
    + "    " * 25
    + "assert 1",
    "finally and except": "def test_it():\n"
    + "\n".join(
        "    " * (d + 1) + "try: pass\n" + "    " * (d + 1) + "except E: pass\n" + "    " * (d + 1) + "finally:"
        for d in range(17)
    )
    + "\n"
    + "    " * 18
    + "assert 1",
    "parentheses": f"assert {'(' * 5000}1{')' * 5000}",
    "lists": f"assert {'[' * 5000}1{']' * 5000}",
    "minuses": f"assert {'-' * 90_000}1",
    "nots": f"assert {'not ' * 20_000}1",
    "attributes": f"assert a{'.b' * 40_000}",
    "calls": f"assert f{'()' * 40_000}",
    "sums": f"assert {'1+' * 45_000}1 == f()",
    "powers": f"assert {'2**' * 30_000}1",
    "lambdas": f"assert {'lambda: ' * 10_000}1",
    "a long number": f"assert f() == {'9' * 90_000}",
    "blocks": "\n".join(f"{' ' * d}if x:" for d in range(150)) + f"\n{' ' * 150}assert 1",
    "else ifs": "if x: assert 1\n" + "elif x: pass\n" * 6000,
    "a format text": "assert f'" + "{f'" * 400 + "x" + "'}" * 400 + "' == ''",
    "a NUL": "assert f() == 1\x00",
    "a lone surrogate": "assert f() == '\ud800'",
}
"""Tests of a task that CPython cannot compile, or not in time."""
CONSTANTS = {
    "multiplied texts": "assert f() == 'a' * 10**9",
    "shifted bits": "assert f() == 1 << 10**9",
    "large powers": "assert f() == 2 ** 10**8",
    "multiplied tuples": "assert f() == ((1,) * 4000,) * 4000",
    "many constants": "assert f() == (" + "(1,) * 250, " * 4000 + ")",
    "a wide format text": "assert f'" + "{1}" * 5000 + "' == ''",
    "comprehensions": "assert " + "[x for x in " * 15 + "[1]" + "]" * 15,
    "a few finally": finally_deep(5),
}
"""Accepted: CPython does not evaluate these constants when it compiles, or limits their size."""

WIDE = {"anyOf": [{"items": {"anyOf": [False] * 2000}}]}
SCHEMAS = {
    "deep": nested(300, {"type": "integer"}, lambda s: {"anyOf": [s, {"type": "string"}]}),
    "deep in properties": nested(200, {}, lambda s: {"properties": {"a": s}}),
    "deep in data": {"const": nested(300, 1, lambda s: [s])},
    "long": {"enum": ["x" * 10] * 100_000},
    "infinite": {"maximum": 1e400},
    "infinite in data": {"const": [float("inf")]},
    "a reference to nothing": {"$ref": "#/$defs/x"},
    "a reference to another document": {"$ref": "http://127.0.0.1:1/x.json"},
    "no regular expression": {"pattern": "("},
    "a draft that is none": {"$schema": "http://127.0.0.1:1/x"},
}
"""Schemas that are refused when a task is submitted."""
ENDLESS = {
    "a pattern": ({"pattern": "^(a+)+$"}, json.dumps("a" * 40 + "!")),
    "references that multiply": (
        {
            "$ref": "#/$defs/n30",
            "$defs": {"n0": {"type": "integer"}}
            | {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i - 1}"}] * 2} for i in range(1, 31)},
        },
        "1",
    ),
    "a cycle": ({"$ref": "#"}, "1"),
    "a cycle of two": ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "1"),
    "large numbers": ({"multipleOf": 1e-300}, "1" + "0" * 400),
}
"""Schemas that cannot be applied to the answer."""
CHEAP = {
    "branches below items": (WIDE, json.dumps([1] * 1000)),
    "wide alternatives": ({"anyOf": [{"const": n} for n in range(9000)]}, "0.5"),
    "wide enumerations": ({"enum": list(range(20_000))}, "0.5"),
    "wide unions": ({"allOf": [{"type": "string"}] * 5000}, "1"),
    "many required": ({"required": [str(n) for n in range(9000)]}, "{}"),
    "a deep answer": ({"items": {"$ref": "#"}, "type": "array"}, "[" * 99 + "1" + "]" * 99),
}
"""Schemas that are applied in time, because the number of findings is limited."""


@pytest.mark.parametrize("source", CODE.values(), ids=CODE.keys())
async def test_tests_that_cannot_be_compiled_are_refused_with_a_reason(source: str):
    with pytest.raises(InvalidInput, match=r"checks\.tests.*\. \w"):
        await _without_blocking(accept_tests(source))


@pytest.mark.parametrize("source", CONSTANTS.values(), ids=CONSTANTS.keys())
async def test_tests_that_only_look_large_are_accepted(source: str):
    await _without_blocking(accept_tests(source))


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
async def test_unusable_schemas_are_refused_with_a_reason(schema: dict[str, Any]):
    with pytest.raises(InvalidInput, match=r"checks\.schema.*\. \w"):
        await _without_blocking(accept_schema(schema))


@pytest.mark.parametrize(("schema", "answer"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_schema_that_cannot_be_applied_in_time_rejects_without_a_score(schema: dict[str, Any], answer: str):
    outcome = await _without_blocking(check_schema(schema, answer))
    assert outcome.rejects
    assert outcome.score is None
    assert "not checked" in outcome.findings[0].message


@pytest.mark.parametrize(("schema", "answer"), CHEAP.values(), ids=CHEAP.keys())
async def test_number_of_schema_findings_is_limited(schema: dict[str, Any], answer: str):
    outcome = await _without_blocking(check_schema(schema, answer))
    assert outcome.score is not None
    assert outcome.score < 1
    assert len(outcome.findings) <= 10


@pytest.mark.parametrize("code", CODE.values(), ids=CODE.keys())
async def test_answer_that_is_hard_to_parse_has_a_verdict(code: str):
    """The daemon's process does not parse the answer."""
    verdict = await _without_blocking(judged(python(code), format=AnswerFormat.PYTHON))
    assert verdict.score is not None
    assert verdict.approved or errors(verdict)


@pytest.mark.parametrize(
    "prompt", [CODE["finally"], CODE["minuses"], "x = 1 +\n" * 20_000, "Review:\n" * 9 + "f(" * 20_000]
)
async def test_review_of_code_that_is_hard_to_parse_ends(prompt: str):
    draft = await _without_blocking(GuardianAgent().perform(task(prompt=prompt), AttemptContext(), _no_event))
    assert draft.text.startswith("# Review")


async def test_plain_text_starts_no_process():
    before = _children()
    for text in ("Some text.", '{"a": 1}', "```\nx\n```"):
        await judged(text, require=("x",), format=AnswerFormat.TEXT)
    assert _children() == before


async def test_worker_process_stays_and_forks_for_each_request():
    await accept_tests("assert f() == 1")
    before = _children()
    for _ in range(5):
        await accept_tests("assert f() == 1")
    assert _children() == before


async def test_killed_process_is_restarted():
    await accept_tests("assert f() == 1")
    assert confining._WORKER._process is not None
    confining._WORKER._process.kill()
    await accept_tests("assert f() == 1")


async def test_cancelling_kills_the_work():
    working = asyncio.ensure_future(check_schema(*ENDLESS["a pattern"]))
    await _pass_loop_turns(200)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_one_project_does_not_delay_another():
    """The work of another project is done before the second expensive check of this project ends."""
    ended: list[str] = []

    async def record(name: str, work: Awaitable[Any]) -> None:
        await work
        ended.append(name)

    bombs = [record("bomb", check_schema(*ENDLESS["a pattern"], owner="one")) for _ in range(2)]
    plain = [record("plain", check_schema({"type": "integer"}, "1", "two")) for _ in range(3)]
    await asyncio.gather(*bombs, *plain)
    assert ended[-1] == "bomb"


async def test_number_of_waiting_requests_per_project_is_limited():
    """An expensive check is first, so that no other one ends before all have come."""
    expensive = asyncio.ensure_future(check_schema(*ENDLESS["a pattern"], owner="one"))
    await _pass_loop_turns(200)
    waiting = [asyncio.ensure_future(accept_tests("assert f() == 1", "one")) for _ in range(confining.WAITING - 1 + 5)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    refused = [result for result in results if isinstance(result, ConfinedBusy)]
    assert len(refused) == 5
    assert all(result is None for result in results if result not in refused)
    await asyncio.wait([expensive])


async def test_process_has_no_secret_and_no_privilege(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAIROS_SECRET_FOR_TEST", "s3cret")
    monkeypatch.setattr(confining, "_WORKER", confining._WorkerProcess())
    working = asyncio.ensure_future(check_schema(*ENDLESS["a pattern"]))
    copies: list[psutil.Process] = []
    while not copies and not working.done():
        copies = _copies()
        await asyncio.sleep(0)
    [copy] = copies[:1]
    fields: dict[str, str] = {}
    while fields.get("Seccomp") != "2" and not working.done():  # the filter is installed last
        status = (await asyncio.to_thread(_read, f"/proc/{copy.pid}/status")).splitlines()
        fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    environment = await asyncio.to_thread(_read, f"/proc/{confining._WORKER._process.pid}/environ")  # type: ignore[union-attr]
    await working
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert os.geteuid() != 0 or int(fields["Uid"].split()[0]) != 0
    assert "KAIROS" not in environment
    confining._WORKER._discard()


def test_process_imports_neither_the_database_nor_the_model_calls():
    """They would take most of a second and 40 MB in each daemon that checks an answer."""
    code = "import sys; from kairos.agents.checks import confined_process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "jsonschema" in imported
    assert imported.isdisjoint({"sqlalchemy", "psycopg", "aiohttp", "redis", "fastapi", "kairos.db", "kairos.llm"})


async def test_request_that_is_too_large_is_refused_before_it_is_sent():
    with pytest.raises(TooMuchWork):
        await confined("tests", {"source": "x" * (9 << 20)})


async def _without_blocking(work: Awaitable[Any]) -> Any:
    """Return the result of the work, and check that the event loop's thread spent little processor time on it."""
    began = time.thread_time()
    result = await work
    assert time.thread_time() - began < MOST_CPU_S
    return result


async def _pass_loop_turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0.001)


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def _copies() -> list[psutil.Process]:
    process = confining._WORKER._process
    return psutil.Process(process.pid).children() if process else []


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


async def _no_event(kind: object, data: object) -> None:
    raise AssertionError("a review makes no calls")
