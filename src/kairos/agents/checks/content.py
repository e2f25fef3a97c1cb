"""Texts that the task demands or forbids.

They are compared as people read them (`folding.fold`): in any case, with I, İ, ı and i as one letter, and without
characters that nobody sees.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from kairos.agents.checks.opinion import CheckResult, error, first
from kairos.folding import fold

REQUIRE = "require"
FORBID = "forbid"
HINT = "The answer lacks something that it must contain: read the task again."
"""For the model: told the text itself, a weak one would repeat it and pass, and have learned nothing."""


class _Text:
    """An answer that is searched for phrases."""

    def __init__(self, text: str) -> None:
        self._folded = fold(text)
        self._text = unicodedata.normalize("NFC", text)

    def line_of(self, phrase: str) -> int | None:
        """The 1-based line on which the phrase first begins; None where it does not occur."""
        folded = fold(phrase)
        # A phrase of invisible characters alone means just these.
        text, wanted = (self._folded, folded) if folded else (self._text, unicodedata.normalize("NFC", phrase))
        at = text.find(wanted)
        return None if at < 0 else text.count("\n", 0, at) + 1


def check_required(wanted: Sequence[str], text: str) -> CheckResult:
    """Each text must occur. The score is the share that does."""
    searched = _Text(text)
    missing = [phrase for phrase in wanted if searched.line_of(phrase) is None]
    findings = [error(REQUIRE, f"The answer must contain {phrase!r}, and does not.", hint=HINT) for phrase in missing]
    return CheckResult(REQUIRE, first(findings), 1 - len(missing) / len(wanted))


def check_forbidden(unwanted: Sequence[str], text: str) -> CheckResult:
    """No text may occur. The score is the share that does not."""
    searched = _Text(text)
    lines = {phrase: line for phrase in unwanted if (line := searched.line_of(phrase))}
    findings = [error(FORBID, f"The answer must not contain {phrase!r}.", line) for phrase, line in lines.items()]
    return CheckResult(FORBID, first(findings), 1 - len(lines) / len(set(unwanted)))
