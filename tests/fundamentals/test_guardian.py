"""The verdicts and scores of the guardian. Read from top to bottom."""

from __future__ import annotations

import pytest

from kairos.agents.base import AttemptContext
from kairos.agents.checks.answer_format import AnswerFormat
from kairos.agents.finding import Severity
from kairos.agents.guardian import GuardianAgent
from tests.kit.drafts import errors, judged, python, task


async def test_empty_answer_is_rejected_with_score_0():
    verdict = await judged("  \n")
    assert (verdict.approved, verdict.score) == (False, 0.0)


@pytest.mark.parametrize("finish_reason", ["length", None])
async def test_truncated_answer_is_rejected(finish_reason: str | None):
    """The model reached its token limit, or the stream was cut."""
    assert not (await judged("The answer is", finish_reason=finish_reason)).approved


async def test_score_is_unknown_if_nothing_measures_the_content():
    """The answer is approved because there is no finding; its quality stays unknown."""
    verdict = await judged("Some free text.")
    assert (verdict.approved, verdict.score) == (True, None)


async def test_rejected_answer_with_unmeasured_content_scores_0():
    """The score is 0 and not unknown, so that the router learns from the rejection."""
    verdict = await judged(python("import os\nos.system(cmd)"))
    assert (verdict.approved, verdict.score) == (False, 0.0)


async def test_required_and_forbidden_texts_are_matched_in_any_case():
    assert (await judged("Hello World", require=("hello",), forbid=("goodbye",))).score == 1.0
    missing = await judged("Hello", require=("paris",))
    assert "paris" in errors(missing)
    present = await judged("one\ntwo goodbye", forbid=("GOODBYE",))
    assert "GOODBYE" in errors(present)
    assert [finding.line for finding in present.findings] == [2]


async def test_finding_names_the_required_format():
    verdict = await judged("Sure! Here it is.", format=AnswerFormat.JSON)
    assert not verdict.approved
    assert "JSON" in errors(verdict)
    assert (await judged('{"a": 1}', format=AnswerFormat.JSON)).approved


async def test_json_is_checked_against_the_schema_of_the_task():
    schema = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
    assert (await judged('{"city": "Paris"}', schema=schema)).score == 1.0
    wrong = await judged('{"city": 7}', schema=schema)
    assert not wrong.approved
    assert "city" in errors(wrong)


async def test_syntax_error_is_reported_at_its_line_of_the_answer():
    verdict = await judged("Here:\n" + python("x = 1\nif x\n    pass"))
    assert not verdict.approved
    assert verdict.score == 0.0
    assert [finding.line for finding in verdict.findings if finding.severity is Severity.ERROR] == [4]


async def test_findings_in_any_code_block_give_the_line_of_the_answer():
    verdict = await judged("First:\n" + python("x = 1") + "\nthen:\n" + python("import os\nos.system(x)"))
    assert [(finding.check, finding.line) for finding in verdict.findings] == [("safety", 8)]


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.system(cmd)",
        "import os as o\no.popen(cmd)",
        "from os import system as s\ns(cmd)",
        "import subprocess\nsubprocess.run(cmd, shell=True)",
        "import os\nf = os.system\nf(cmd)",
        "import os\ngetattr(os, 'system')(cmd)",
        "eval(input())",
        "import pickle\npickle.loads(data)",
        "import shutil\nshutil.os.system(cmd)",
        "__import__('os').system(cmd)",
        "import sys\nsys.modules['os'].system(cmd)",
        "import functools, os\nfunctools.partial(os.system, cmd)()",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', cmd])",
        "import asyncio\nasyncio.subprocess.create_subprocess_shell(cmd)",
        "exec('import os; os.system(1)')",
    ],
)
async def test_disguised_dangerous_calls_are_rejected(code: str):
    assert not (await judged(python(code))).approved


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess\nsubprocess.run(['ls', path])",
        "import subprocess\nsubprocess.run(['sh', '-c', 'ls | wc'])",
        "import platform\nplatform.system()",
        "import re\nre.compile(pattern)",
        "model.eval()",
        "def eval(x):\n    return x\neval(1)",
        "import ast\nast.literal_eval(text)",
    ],
)
async def test_harmless_calls_that_look_dangerous_are_approved(code: str):
    assert (await judged(python(code))).approved


async def test_dangerous_calls_in_strings_and_comments_are_approved():
    """The check analyses the syntax tree and does not search the text."""
    code = '# never call os.system\nprint("eval(x) and os.system(y) are dangerous")'
    assert (await judged(python(code))).approved


@pytest.mark.parametrize(
    "code",
    [
        "password = 'hT7#kd92LmQz!x'",
        "password = b'hT7#kd92LmQz!x'",
        "user, password = 'bob', 'hT7#kd92LmQz!x'",
        "password = os.getenv('PASSWORD') or 'hT7#kd92LmQz!x'",
        "connect(password='hT7#' + 'kd92LmQz!x')",
        "config = {'apiKey': 'hT7kd92LmQzx'}",
        "access_token = 'correcthorsebattery'",
        "key = 'AKIAIOSFODNN7EXAMPLQ'",
        "headers = {'Authorization': 'Bearer hT7kd92LmQzx81Ab'}",
        "engine = connect('postgres://app:hT7kd92LmQz@db/app')",
    ],
)
async def test_hard_coded_secrets_are_rejected_and_not_repeated(code: str):
    verdict = await judged(python(code))
    assert not verdict.approved
    assert "secrets" in {finding.check for finding in verdict.findings}
    assert "hT7" not in errors(verdict), "the findings go into prompts and logs"


@pytest.mark.parametrize(
    "code",
    [
        "password = 'changeme'",
        "api_key = '<your key>'",
        "token = os.environ['TOKEN']",
        "password = getpass.getpass('Password: ')",
        "password_field = 'user_password_input_3'",
        "token = 'NUMBER'",
        "if token == 'left_parenthesis': pass",
        "headers = {'Authorization': f'Bearer {key}'}",
    ],
)
async def test_placeholders_and_parser_tokens_are_not_secrets(code: str):
    assert (await judged(python(code))).approved


TESTS = """
def test_sum():
    assert add(2, 3) == 5

def test_zero():
    assert add(0, 0) == 0
"""


async def test_code_must_pass_the_tests_of_the_task():
    assert (await judged(python("def add(a, b):\n    return a + b"), tests=TESTS)).score == 1.0
    wrong = await judged(python("def add(a, b):\n    return a * b"), tests=TESTS)
    assert not wrong.approved
    assert "test_sum" in errors(wrong)
    assert "6" in errors(wrong), "the finding contains the actual value"


async def test_partial_success_scores_above_failure_and_below_an_approved_answer():
    """The router learns that one passed test of two is better than none."""
    half = await judged(python("def add(a, b):\n    return a * b"), tests=TESTS)
    none = await judged(python("def add(a, b):\n    return 99"), tests=TESTS)
    assert none.score is not None
    assert half.score is not None
    assert none.score < half.score <= 0.5


async def test_rejected_answer_scores_below_every_approved_one():
    """Nine of ten requirements are met, or all; the missing one or the dangerous call rejects the answer."""
    nine = tuple(f"word{number}" for number in range(9))
    rejected = await judged(" ".join(nine), require=(*nine, "missing"))
    dangerous = await judged(python("import os\nos.system('word')"), require=("word",))
    assert [rejected.approved, dangerous.approved] == [False, False]
    assert rejected.score == pytest.approx(0.45)
    assert dangerous.score == 0.5


async def test_dangerous_or_unparsable_code_is_not_run():
    verdict = await judged(python("import os\nos.system('true')\ndef add(a, b):\n    return a + b"), tests=TESTS)
    assert (verdict.approved, verdict.score) == (False, 0.0)
    assert any("not run" in finding.message for finding in verdict.findings)
    assert (await judged(python("def add(a, b) return a + b"), tests=TESTS)).score == 0.0


async def test_bare_asserts_count_as_tests():
    tests = "assert add(1, 1) == 2\nassert add(2, 2) == 4\nassert add(3, 2) == 5"
    verdict = await judged(python("def add(a, b):\n    return 4 if a == b == 2 else 2"), tests=tests)
    assert verdict.score == pytest.approx(0.5 * 2 / 3)


async def test_tests_are_not_run_if_the_project_forbids_it():
    verdict = await judged(python("def add(a, b):\n    return 99"), tests=TESTS, run_tests=False)
    assert verdict.approved
    assert verdict.score is None
    assert any("not run" in finding.message for finding in verdict.findings)


async def test_guardian_reviews_code_as_an_agent():
    """The findings are the answer; no model is called."""

    async def emit(kind, data):
        raise AssertionError("a review makes no model calls")

    draft = await GuardianAgent().perform(task(prompt="import os\nos.system(cmd)"), AttemptContext(), emit)
    assert "os.system" in draft.text
    assert draft.model is None
