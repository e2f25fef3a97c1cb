"""Texts that the task demands or forbids."""

from __future__ import annotations

from collections.abc import Sequence

from kairos.agents.checks.opinion import Opinion, error, first

REQUIRE = "require"
FORBID = "forbid"
HINT = "The answer lacks something that it must contain: read the task again."
"""For the model: told the text itself, a weak one would repeat it and pass, and have learned nothing."""


def check_required(wanted: Sequence[str], text: str) -> Opinion:
    """Each text must occur, in any case. The score is the share that does."""
    folded = _fold(text)
    missing = [phrase for phrase in wanted if _fold(phrase) not in folded]
    findings = [error(REQUIRE, f"The answer must contain {phrase!r}, and does not.", hint=HINT) for phrase in missing]
    return Opinion(REQUIRE, first(findings), 1 - len(missing) / len(wanted))


def check_forbidden(unwanted: Sequence[str], text: str) -> Opinion:
    """No text may occur, in any case. The score is the share that does not."""
    lines = {phrase: line for phrase in unwanted if (line := _line_of(phrase, text))}
    findings = [error(FORBID, f"The answer must not contain {phrase!r}.", line) for phrase, line in lines.items()]
    return Opinion(FORBID, first(findings), 1 - len(lines) / len(set(unwanted)))


def _line_of(phrase: str, text: str) -> int | None:
    """The 1-based line on which the phrase first begins."""
    folded = _fold(text)
    at = folded.find(_fold(phrase))
    return None if at < 0 else folded.count("\n", 0, at) + 1


def _fold(text: str) -> str:
    """Casefolding knows that `STRASSE` and `straße` are one word."""
    return text.casefold()
