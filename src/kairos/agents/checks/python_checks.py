"""Checks of Python code. They run in the limited process (`confined`), because the cost of parsing is unbounded."""

from __future__ import annotations

from typing import Any

from kairos.agents.checks.answer_format import AnswerFormat, check_format
from kairos.agents.checks.check_result import CheckedCode, CheckResult, result_from_dict, result_to_dict
from kairos.agents.checks.code_blocks import has_python
from kairos.agents.checks.confined import TooMuchWork, confined
from kairos.agents.checks.dangers import check_dangers
from kairos.agents.checks.python_syntax import Program, UnparsableCode, check_syntax, read_python
from kairos.agents.checks.secret_literals import check_secrets
from kairos.agents.checks.tampering import check_tampering
from kairos.agents.finding import Finding, Severity

INTRODUCTION = 10
"""Maximum lines of prose before unfenced code in a prompt to review."""


async def check_code(text: str, wanted: AnswerFormat | None, *, tested: bool, owner: object = None) -> CheckedCode:
    """Check the answer's code, including the format if Python was requested."""
    question = {"text": text, "wanted": wanted is AnswerFormat.PYTHON, "tested": tested}
    try:
        data = await confined("code", question, owner)
    except TooMuchWork as limit:
        return CheckedCode((check_syntax(_too_much(limit)),), None)
    return CheckedCode(tuple(map(result_from_dict, data["results"])), data["source"])


async def review_code(text: str, owner: object = None) -> tuple[Finding, ...]:
    """Return findings on the code in a prompt, fenced or not."""
    try:
        data = await confined("review", {"text": text}, owner)
    except TooMuchWork as limit:
        return check_syntax(_too_much(limit)).findings
    return tuple(Finding(**{**finding, "severity": Severity(finding["severity"])}) for finding in data)


def code_results(text: str, wanted: bool, tested: bool) -> dict[str, Any]:
    """Compute the results of `check_code`. Runs in the limited process."""
    code = read_python(text)
    results = _on_code(code, tested=tested)
    if wanted:
        results.append(check_format(AnswerFormat.PYTHON, text, code))
    source = code.source if isinstance(code, Program) else None
    return {"results": [result_to_dict(result) for result in results], "source": source}


def review_findings(text: str) -> list[dict[str, Any]]:
    """Compute the findings of `review_code`. Runs in the limited process."""
    code = read_python(text) if has_python(text) else _unfenced(text)
    results = _on_code(code, tested=False) if code else []
    return [finding for result in results for finding in result_to_dict(result)["findings"]]


def _on_code(code: Program | UnparsableCode, *, tested: bool) -> list[CheckResult]:
    if isinstance(code, UnparsableCode):
        return [check_syntax(code)]
    try:
        results = [check_syntax(code), check_dangers(code), check_secrets(code)]
        return [*results, check_tampering(code)] if tested else results
    except RecursionError:
        return [check_syntax(UnparsableCode("The code is nested too deeply to be checked."))]


def _unfenced(text: str) -> Program | None:
    """Return unfenced code from a prompt, after at most `INTRODUCTION` lines of instructions."""
    lines = text.split("\n")
    for skipped in range(min(INTRODUCTION, len(lines))):
        code = read_python("\n" * skipped + "\n".join(lines[skipped:]))
        if isinstance(code, Program) and code.tree.body:
            return code
    return None


def _too_much(limit: TooMuchWork) -> UnparsableCode:
    return UnparsableCode(f"The code could not be checked: reading it {limit}.")
