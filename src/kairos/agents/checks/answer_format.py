"""Check of an answer's format: text, JSON or Python."""

from __future__ import annotations

import ast
import asyncio
from enum import StrEnum

from kairos.agents.checks.check_result import CheckResult, error
from kairos.agents.checks.code_blocks import sole_block
from kairos.agents.checks.json_answer import NotJson, read_json
from kairos.agents.checks.python_syntax import Program, UnparsableCode
from kairos.agents.checks.registry import Check, CheckedAnswer, Wording, register
from kairos.agents.finding import Finding

FORMAT_CHECK = "format"


class AnswerFormat(StrEnum):
    """The format an answer must have; the guardian rejects any other."""

    TEXT = "text"
    JSON = "json"
    PYTHON = "python"


def check_format(wanted: AnswerFormat, text: str, code: Program | UnparsableCode | None) -> CheckResult:
    """Check that the answer has the requested format. The score is 1 or 0.

    - json: one JSON value, optionally in one fenced block, and nothing else.
    - python: code that parses and has at least one statement (found by `code_blocks.python_source`).
    - text: prose; neither a JSON object or array nor one fenced block.
    """
    finding = _refusal(wanted, text, code)
    return CheckResult(FORMAT_CHECK, (finding,) if finding else (), 0.0 if finding else 1.0)


def _refusal(wanted: AnswerFormat, text: str, code: Program | UnparsableCode | None) -> Finding | None:
    if wanted is AnswerFormat.JSON:
        return _no_json(text)
    if wanted is AnswerFormat.PYTHON:
        return _no_python(code)
    return _no_text(text)


def _no_json(text: str) -> Finding | None:
    try:
        read_json(text)
    except NotJson as refused:
        return error(FORMAT_CHECK, f"The answer is not JSON: {refused.problem}", refused.line)
    return None


def _no_python(code: Program | UnparsableCode | None) -> Finding | None:
    if not isinstance(code, Program):
        line = code.line if code else None
        return error(FORMAT_CHECK, "The answer is not Python: give the code in one ```python block.", line)
    if all(_is_remark(statement) for statement in code.tree.body):
        return error(FORMAT_CHECK, "The answer has no Python statement: give the code in one ```python block.")
    return None


def _is_remark(statement: ast.stmt) -> bool:
    """Whether a statement is a bare name or literal, which parses as Python but does nothing."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name)


def _no_text(text: str) -> Finding | None:
    if sole_block(text):
        return error(FORMAT_CHECK, "The answer is one code block, but plain text was requested.")
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        read_json(text)
    except NotJson:
        return None
    return error(FORMAT_CHECK, "The answer is JSON, but plain text was requested.")


async def _run_format(wanted: AnswerFormat, answer: CheckedAnswer) -> CheckResult | None:
    """Check the format. Python was already parsed by the code checks, in the limited process."""
    if wanted is AnswerFormat.PYTHON:
        return next((result for result in answer.code.results if result.check == FORMAT_CHECK), None)
    return await asyncio.to_thread(check_format, wanted, answer.text, None)


FORMAT: Check[AnswerFormat] = register(
    Check(
        name=FORMAT_CHECK,
        order=1,
        weight=1.0,
        parameter=AnswerFormat,
        description="The required format of the answer.",
        option="Required format of the answer: text, json or python.",
        label=Wording("Format", "Biçim"),
        run=_run_format,
        reads_code=lambda wanted: wanted is AnswerFormat.PYTHON,
    )
)
