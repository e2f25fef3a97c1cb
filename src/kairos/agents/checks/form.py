"""Checks of an answer's form: not empty, complete, and in the requested format."""

from __future__ import annotations

import ast
import asyncio

from kairos.agents.base import AnswerFormat, Draft, Finding
from kairos.agents.checks.check_result import CheckResult, error
from kairos.agents.checks.code_blocks import sole_block
from kairos.agents.checks.json_answer import NotJson, read_json
from kairos.agents.checks.python_syntax import Program, UnparsableCode
from kairos.agents.checks.registry import Check, CheckedAnswer, Wording, register
from kairos.llm.calls.answer_limits import AnswerLimit, LimitSource

CHECK = "form"
FORMAT_CHECK = "format"
CUT = {
    "content_filter": "The model server's content filter withheld part of the answer.",
    None: "The answer is incomplete: the model's stream ended without a finish signal.",
}

ONLY_REASONING = (
    "The answer is empty: the model wrote reasoning and nothing after it. Allow more tokens (max_tokens),"
    " or ask for less."
)


def check_form(draft: Draft) -> CheckResult:
    """Reject empty and truncated answers. Gives no score: a complete answer may still be a bad one."""
    only_reasoning = is_empty(draft.text) and draft.reasoning
    if draft.finish_reason == "length" and not only_reasoning:
        return CheckResult(CHECK, (_truncated(draft.limit),))
    if draft.finish_reason in CUT:
        return CheckResult(CHECK, (error(CHECK, CUT[draft.finish_reason]),))
    if is_empty(draft.text):
        return CheckResult(CHECK, (error(CHECK, ONLY_REASONING if draft.reasoning else "The answer is empty."),))
    return CheckResult(CHECK)


def _truncated(limit: AnswerLimit | None) -> Finding:
    """Return a finding that names the limit and how to raise it. Its hint asks the model to write less."""
    if limit is None:
        detail = "at its token limit. Ask for a shorter answer, or raise max_tokens (`--max-tokens`)."
    elif limit.source is LimitSource.ASKED:
        detail = f"at {limit.tokens} tokens, the task's max_tokens (`--max-tokens`). Raise it, or ask for less."
    elif limit.source is LimitSource.DEFAULT:
        detail = (
            f"at {limit.tokens} tokens, the model's default answer limit. Raise it for this task with max_tokens "
            "(`--max-tokens`), or ask for a shorter answer."
        )
    else:
        detail = (
            f"at {limit.tokens} tokens, the rest of the model's context. Ask for a shorter answer, or choose a model "
            "with a larger context."
        )
    most = f" Write at most {limit.tokens // 2} words." if limit else ""
    return error(CHECK, f"The answer was truncated {detail}", hint=f"The answer was too long and was cut off.{most}")


def is_empty(text: str) -> bool:
    return not text.strip().strip("\x00")


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
