"""The checks that read an answer as Python. They work in the limited process (`confined`): `parse` is unbounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kairos.agents.base import AnswerFormat, Finding, Severity
from kairos.agents.checks.code_blocks import has_python
from kairos.agents.checks.confined import TooMuchWork, confined
from kairos.agents.checks.dangers import check_dangers
from kairos.agents.checks.form import check_format
from kairos.agents.checks.opinion import Opinion, read_opinion, tell_opinion
from kairos.agents.checks.python_syntax import Program, Unreadable, check_syntax, read_python
from kairos.agents.checks.secret_literals import check_secrets
from kairos.agents.checks.tampering import check_tampering

INTRODUCTION = 10
"""Lines of prose before unfenced code that a review skips."""


@dataclass(frozen=True, slots=True)
class ReadCode:
    """What the checks of the code said, and the code itself if it parses."""

    opinions: tuple[Opinion, ...]
    source: str | None


async def read_code(text: str, wanted: AnswerFormat | None, *, tested: bool, owner: object = None) -> ReadCode:
    """Read the answer's code, and check that it has the format Python if that is wanted."""
    question = {"text": text, "wanted": wanted is AnswerFormat.PYTHON, "tested": tested}
    try:
        told = await confined("code", question, owner)
    except TooMuchWork as limit:
        return ReadCode((check_syntax(_too_much(limit)),), None)
    return ReadCode(tuple(map(read_opinion, told["opinions"])), told["source"])


async def review_code(text: str, owner: object = None) -> tuple[Finding, ...]:
    """Findings on code that stands in a prompt, fenced or not."""
    try:
        told = await confined("review", {"text": text}, owner)
    except TooMuchWork as limit:
        return check_syntax(_too_much(limit)).findings
    return tuple(Finding(**{**finding, "severity": Severity(finding["severity"])}) for finding in told)


def opinions_of(text: str, wanted: bool, tested: bool) -> dict[str, Any]:
    """What `read_code` says, worked out in the limited process."""
    code = read_python(text)
    opinions = _on_code(code, tested=tested)
    if wanted:
        opinions.append(check_format(AnswerFormat.PYTHON, text, code))
    source = code.source if isinstance(code, Program) else None
    return {"opinions": [tell_opinion(opinion) for opinion in opinions], "source": source}


def review_of(text: str) -> list[dict[str, Any]]:
    """What `review_code` says, worked out in the limited process."""
    code = read_python(text) if has_python(text) else _unfenced(text)
    opinions = _on_code(code, tested=False) if code else []
    return [finding for opinion in opinions for finding in tell_opinion(opinion)["findings"]]


def _on_code(code: Program | Unreadable, *, tested: bool) -> list[Opinion]:
    if isinstance(code, Unreadable):
        return [check_syntax(code)]
    try:
        opinions = [check_syntax(code), check_dangers(code), check_secrets(code)]
        return [*opinions, check_tampering(code)] if tested else opinions
    except RecursionError:
        return [check_syntax(Unreadable("The code is nested too deeply to be checked."))]


def _unfenced(text: str) -> Program | None:
    """Code that stands in a prompt without a fence, after at most a few lines that say what to do with it."""
    lines = text.split("\n")
    for skipped in range(min(INTRODUCTION, len(lines))):
        code = read_python("\n" * skipped + "\n".join(lines[skipped:]))
        if isinstance(code, Program) and code.tree.body:
            return code
    return None


def _too_much(limit: TooMuchWork) -> Unreadable:
    return Unreadable(f"The code could not be checked: reading it {limit}.")
