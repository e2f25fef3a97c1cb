"""Checks for texts that the task requires or forbids.

Comparison follows `folding.fold`: it ignores case and invisible characters, and treats I, İ, ı and i as one letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from kairos.agents.checks.check_result import CheckResult, error, first
from kairos.folding import fold

REQUIRE = "require"
FORBID = "forbid"
HINT = "The answer lacks something that it must contain: read the task again."
"""Sent to the model, which would otherwise copy the required text into its answer."""


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
    findings = [error(REQUIRE, f"The answer must contain {phrase!r}, but does not.", hint=HINT) for phrase in missing]
    return CheckResult(REQUIRE, first(findings), 1 - len(missing) / len(wanted))


def check_forbidden(unwanted: Sequence[str], text: str) -> CheckResult:
    """Check that no text occurs. The score is the share that does not."""
    searched = _Text(text)
    lines = {phrase: line for phrase in unwanted if (line := searched.line_of(phrase))}
    findings = [error(FORBID, f"The answer must not contain {phrase!r}.", line) for phrase, line in lines.items()]
    return CheckResult(FORBID, first(findings), 1 - len(lines) / len(set(unwanted)))
