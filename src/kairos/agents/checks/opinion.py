"""What one check says of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kairos.agents.base import Finding, Severity

MESSAGE_LENGTH = 800
FINDINGS = 20
"""Most findings of one check: more would fill the retry prompt, and the first ones say what is wrong."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's findings, and how good it finds the content."""

    check: str
    findings: tuple[Finding, ...] = ()
    score: float | None = None
    """In [0, 1]; None when the check can only object (form, safety), or could not measure."""

    @property
    def rejects(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def error(check: str, message: str, line: int | None = None, hint: str | None = None) -> Finding:
    """A finding that alone rejects the answer."""
    return Finding(check, Severity.ERROR, _storable(message), line, hint)


def warning(check: str, message: str, line: int | None = None) -> Finding:
    """A finding that is shown and rejects nothing."""
    return Finding(check, Severity.WARNING, _storable(message), line)


def first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first findings, errors before warnings, and how many more there are."""
    ranked = sorted(findings, key=lambda finding: (finding.severity is not Severity.ERROR, finding.line or 0))
    kept, left = ranked[:FINDINGS], ranked[FINDINGS:]
    if left:
        kept.append(Finding(left[0].check, left[0].severity, f"And {len(left)} more like these."))
    return tuple(kept)


def result_to_dict(result: CheckResult) -> dict[str, Any]:
    """An result as plain data, to cross between processes."""
    return asdict(result)


def result_from_dict(told: Mapping[str, Any]) -> CheckResult:
    """The result that `result_to_dict` told."""
    findings = (Finding(**{**finding, "severity": Severity(finding["severity"])}) for finding in told["findings"])
    return CheckResult(told["check"], tuple(findings), told["score"])


def _storable(message: str) -> str:
    """Findings quote answers, and PostgreSQL keeps neither NUL nor lone surrogates."""
    text = message.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 2]} …"
