"""Checks for texts that the task requires or forbids.

Comparison follows `folding.fold`: it ignores case and invisible characters, and treats I, İ, ı and i as one letter.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from kairos.agents.checks.check_result import CheckResult, error, first
from kairos.agents.checks.registry import Check, CheckedAnswer, Wording, register
from kairos.folding import fold
from kairos.text import Text

REQUIRE_CHECK = "require"
FORBID_CHECK = "forbid"
HINT = "The answer lacks something that it must contain: read the task again."
"""Sent to the model, which would otherwise copy the required text into its answer."""


Phrase = Annotated[Text, Field(min_length=1, max_length=2000)]
Phrases = Annotated[tuple[Phrase, ...], Field(max_length=100)]
PER_LINE = Wording("One per line.", "Her satıra bir tane.")


class _Text:
    """An answer, prepared for searching."""

    def __init__(self, text: str) -> None:
        self._folded = fold(text)
        self._text = unicodedata.normalize("NFC", text)

    def line_of(self, phrase: str) -> int | None:
        """Return the 1-based line of the first occurrence of the phrase, or None."""
        folded = fold(phrase)
        # A phrase of invisible characters only is searched literally.
        text, wanted = (self._folded, folded) if folded else (self._text, unicodedata.normalize("NFC", phrase))
        at = text.find(wanted)
        return None if at < 0 else text.count("\n", 0, at) + 1


def check_required(wanted: Sequence[str], text: str) -> CheckResult:
    """Check that each text occurs. The score is the share that does."""
    searched = _Text(text)
    missing = [phrase for phrase in wanted if searched.line_of(phrase) is None]
    findings = [
        error(REQUIRE_CHECK, f"The answer must contain {phrase!r}, but does not.", hint=HINT) for phrase in missing
    ]
    return CheckResult(REQUIRE_CHECK, first(findings), 1 - len(missing) / len(wanted))


def check_forbidden(unwanted: Sequence[str], text: str) -> CheckResult:
    """Check that no text occurs. The score is the share that does not."""
    searched = _Text(text)
    lines = {phrase: line for phrase in unwanted if (line := searched.line_of(phrase))}
    findings = [error(FORBID_CHECK, f"The answer must not contain {phrase!r}.", line) for phrase, line in lines.items()]
    return CheckResult(FORBID_CHECK, first(findings), 1 - len(lines) / len(set(unwanted)))


async def _run_required(wanted: Sequence[str], answer: CheckedAnswer) -> CheckResult:
    return await asyncio.to_thread(check_required, wanted, answer.text)


async def _run_forbidden(unwanted: Sequence[str], answer: CheckedAnswer) -> CheckResult:
    return await asyncio.to_thread(check_forbidden, unwanted, answer.text)


REQUIRE: Check[tuple[str, ...]] = register(
    Check(
        name=REQUIRE_CHECK,
        order=2,
        weight=1.0,
        parameter=Phrases,
        default=(),
        description="Texts that the answer must contain.",
        examples=[["def add"]],
        option="Required text; may be repeated.",
        label=Wording("Required texts", "Geçmesi gereken metinler"),
        hint=PER_LINE,
        run=_run_required,
    )
)
FORBID: Check[tuple[str, ...]] = register(
    Check(
        name=FORBID_CHECK,
        order=3,
        weight=1.0,
        parameter=Phrases,
        default=(),
        description="Texts that the answer must not contain.",
        examples=[["eval("]],
        option="Forbidden text; may be repeated.",
        label=Wording("Forbidden texts", "Geçmemesi gereken metinler"),
        hint=PER_LINE,
        run=_run_forbidden,
    )
)
