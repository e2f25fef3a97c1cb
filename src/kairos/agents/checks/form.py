"""The form of an answer: that it is there, that it is whole, that it is in the format asked for."""

from __future__ import annotations

import ast

from kairos.agents.base import AnswerFormat, Draft, Finding
from kairos.agents.checks.code_blocks import sole_block
from kairos.agents.checks.json_answer import NotJson, read_json
from kairos.agents.checks.opinion import CheckResult, error
from kairos.agents.checks.python_syntax import Program, UnparsableCode
from kairos.llm.calls.answer_limits import AnswerLimit, LimitSource

CHECK = "form"
FORMAT = "format"
CUT = {
    "content_filter": "The model's server withheld a part of the answer by its content filter.",
    None: "The answer is not whole: the model's stream ended without saying that it was done.",
}

ONLY_REASONING = (
    "The answer is empty: the model wrote reasoning and nothing after it. Allow more tokens (max_tokens),"
    " or ask for less."
)


def check_form(draft: Draft) -> CheckResult:
    """Empty and truncated answers are rejected. It can only object: a whole answer may still be a bad one."""
    only_reasoning = is_empty(draft.text) and draft.reasoning
    if draft.finish_reason == "length" and not only_reasoning:
        return CheckResult(CHECK, (_truncated(draft.limit),))
    if draft.finish_reason in CUT:
        return CheckResult(CHECK, (error(CHECK, CUT[draft.finish_reason]),))
    if is_empty(draft.text):
        return CheckResult(CHECK, (error(CHECK, ONLY_REASONING if draft.reasoning else "The answer is empty."),))
    return CheckResult(CHECK)


def _truncated(limit: AnswerLimit | None) -> Finding:
    """Names the limit and what to raise; the model is told to write less."""
    if limit is None:
        words = "at its token limit. Ask for a shorter answer, or raise max_tokens (`--max-tokens`)."
    elif limit.source is LimitSource.ASKED:
        words = f"at {limit.tokens} tokens, the task's max_tokens (`--max-tokens`). Raise it, or ask for less."
    elif limit.source is LimitSource.DEFAULT:
        words = (
            f"at {limit.tokens} tokens, the model's default answer limit. Raise it for this task with max_tokens "
            "(`--max-tokens`), or ask for a shorter answer."
        )
    else:
        words = (
            f"at {limit.tokens} tokens, all that the model's context has room for. Ask for a shorter answer, or name a "
            "model with a larger context."
        )
    most = f" Write at most {limit.tokens // 2} words." if limit else ""
    return error(CHECK, f"The answer was truncated {words}", hint=f"The answer was too long and was cut off.{most}")


def is_empty(text: str) -> bool:
    return not text.strip().strip("\x00")


def check_format(wanted: AnswerFormat, text: str, code: Program | UnparsableCode | None) -> CheckResult:
    """The format asked for, and no other. Speaks both ways: 1 or 0.

    - json: one JSON value and nothing around it but white space or one fence that holds it all.
    - python: code that parses and holds at least one statement (see `code_blocks.python_source` for where it is found).
    - text: prose; neither a JSON object or array nor one fenced block.
    """
    finding = _refusal(wanted, text, code)
    return CheckResult(FORMAT, (finding,) if finding else (), 0.0 if finding else 1.0)


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
        return error(FORMAT, f"The answer is not JSON: {refused.problem}", refused.line)
    return None


def _no_python(code: Program | UnparsableCode | None) -> Finding | None:
    if not isinstance(code, Program):
        line = code.line if code else None
        return error(FORMAT, "The answer is not Python: give the code in one ```python block.", line)
    if all(_is_remark(statement) for statement in code.tree.body):
        return error(FORMAT, "The answer holds no Python statement: give the code in one ```python block.")
    return None


def _is_remark(statement: ast.stmt) -> bool:
    """A bare word or a string parses as Python, and does nothing."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name)


def _no_text(text: str) -> Finding | None:
    if sole_block(text):
        return error(FORMAT, "The answer is one code block where plain text was asked for.")
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        read_json(text)
    except NotJson:
        return None
    return error(FORMAT, "The answer is JSON where plain text was asked for.")
