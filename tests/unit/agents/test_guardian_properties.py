"""The guardian gives a consistent verdict on any answer."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kairos.agents.base import AttemptContext, Verdict
from kairos.agents.checks.answer_format import AnswerFormat
from kairos.agents.checks.check_result import error
from kairos.agents.finding import Severity
from kairos.agents.guardian import REJECTED_FACTOR, GuardianAgent
from tests.kit.drafts import judged, python, task

CHARACTERS = st.characters(exclude_categories=())
"""Includes lone surrogates and NUL, which model servers have sent."""
TEXTS = st.text(CHARACTERS)
PIECES = st.sampled_from(
    [
        *(
            "import os",
            "os.system(x)",
            "getattr(os, 's' 'ystem')",
            "```",
            "```python",
            "~~~json",
            "\x00",
            "\ud800",
            "\t",
        ),
        *('{"a": 1}', "def f(:", "[" * 500, "lambda: " * 300, "not " * 2000, "password = 'hT7#kd92LmQz'", "exec(", "{"),
        *(
            "f'{x!r:{w}}'",
            "a = b.x; b = a.y",
            "\r",
            "\x0c",
            "\u2028",
            "9" * 5000,
            "1e999",
            "NaN",
            "from . import *",
            "#",
        ),
    ]
)
ANSWERS = st.one_of(
    TEXTS, TEXTS.map(python), st.binary().map(lambda data: data.decode("latin-1")), st.lists(PIECES).map("\n".join)
)
FORMATS = st.sampled_from([None, *AnswerFormat])
PHRASES = st.lists(st.text(CHARACTERS, min_size=1), max_size=2).map(tuple)
SCHEMAS = st.sampled_from([None, {}, {"type": "object"}, {"enum": [1, "a"]}, {"not": {}}, {"maxLength": 2}])
FINISHES = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "\x00", None])
WITHOUT_DEADLINE = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@WITHOUT_DEADLINE
@given(ANSWERS, FORMATS, PHRASES, PHRASES, SCHEMAS, FINISHES)
@example("\x00", None, (), (), None, "stop")
@example("\ud800", AnswerFormat.JSON, ("\ud800",), ("\ud800",), {}, "stop")
@example(python("x = '\ud800'"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("x = '\x00'"), AnswerFormat.PYTHON, (), (), None, "stop")
@example("[" * 100_000, AnswerFormat.JSON, (), (), {}, "stop")
@example('{"a":' * 99 + "1" + "}" * 99, AnswerFormat.JSON, (), (), {"type": "object"}, "stop")
@example(python("(" * 50_000 + ")" * 50_000), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("-" * 100_000 + "1"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("x = " + "a." * 20_000 + "b"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("x = " + "1 + " * 20_000 + "b"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("x" + "[0]" * 20_000 + "()" * 5_000), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("x = f'" + "{1}" * 5_000 + "'"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("eval('" + "(" * 3_000 + "')"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("from ..x import *\nimport a.b.c as d\ndel d\nglobal e"), AnswerFormat.PYTHON, (), (), None, "stop")
@example(python("a = b.x\nb = a.y\n" * 500), AnswerFormat.PYTHON, (), (), None, "stop")
@example("9" * 100_000, AnswerFormat.JSON, (), (), {"type": "integer"}, "stop")
@example("```" * 20_000, AnswerFormat.TEXT, (), (), None, "stop")
async def test_guardian_never_fails_and_its_verdict_is_consistent(text, form, require, forbid, schema, finish):
    verdict = await judged(text, finish_reason=finish, format=form, require=require, forbid=forbid, schema=schema)
    _is_consistent(verdict)
    if verdict.score is None:
        assert verdict.approved, "a rejected answer has a score"
        assert (form, require, forbid, schema) == (None, (), (), None), "a measured answer has a score"


@WITHOUT_DEADLINE
@given(ANSWERS)
@example("import os\n" + "x" * 300_000)
@example("\n" * 100_000)
async def test_review_never_fails_and_can_be_stored(text):
    """PostgreSQL stores neither NUL nor lone surrogates."""
    draft = await GuardianAgent().perform(task(prompt=text), AttemptContext(), _no_event)
    assert "\x00" not in draft.text
    assert draft.text.encode("utf-8")


@WITHOUT_DEADLINE
@given(ANSWERS, PHRASES)
async def test_same_answer_gets_the_same_verdict(text, require):
    assert await judged(text, require=require) == await judged(text, require=require)


@WITHOUT_DEADLINE
@given(st.text(min_size=1).filter(str.strip), st.lists(st.text(min_size=1), min_size=1, max_size=4))
async def test_contained_phrases_are_found_and_fewer_findings_give_a_better_score(text, phrases):
    there = f"{text}\n" + "\n".join(phrases)
    full = await judged(there, require=tuple(phrases))
    part = await judged(there, require=(*phrases, there + "!"))
    assert "require" not in {finding.check for finding in full.findings}
    assert full.score is not None
    assert part.score is not None
    assert part.score <= REJECTED_FACTOR
    assert part.score < full.score or not full.approved


@given(TEXTS)
@example("\x00\ud800")
def test_finding_can_be_stored_whatever_it_quotes(text):
    assert "\x00" not in error("form", text).message
    assert error("form", text).message.encode("utf-8") is not None


def _is_consistent(verdict: Verdict) -> None:
    assert verdict.approved == all(finding.severity is not Severity.ERROR for finding in verdict.findings)
    for finding in verdict.findings:
        assert "\x00" not in finding.message
        assert finding.message.encode("utf-8")
        assert finding.line is None or finding.line >= 1
    if verdict.score is not None:
        assert 0.0 <= verdict.score <= 1.0
        assert verdict.approved or verdict.score <= REJECTED_FACTOR


async def _no_event(kind, data):
    raise AssertionError("a review makes no calls")
