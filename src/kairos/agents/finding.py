"""A fault in a draft.

A module of its own, because the limited process (`checks.confined_process`) imports it: the module `base` imports the
database and the model calls, which would take a second and 60 MB there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether a finding alone rejects the answer."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault in a draft, described so that a model and a person can act on it."""

    check: str
    severity: Severity
    message: str
    line: int | None = None
    """1-based line of the answer."""
    hint: str | None = None
    """Sent to the model in place of `message` when the message would reveal the expected answer."""
