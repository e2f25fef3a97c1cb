"""The result of one check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kairos.agents.finding import Finding, Severity

MESSAGE_LENGTH = 800
FINDINGS = 20
"""Maximum number of findings per check, so that they do not fill the retry prompt."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's findings, and its score of the content."""

    check: str
    findings: tuple[Finding, ...] = ()
    score: float | None = None
    """In [0, 1]; None if the check gives no scores (form, safety) or could not run."""
    skipped: bool = False
    """Whether the check was not run. It is then not listed in the verdict."""

    @property
    def rejects(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class CheckedCode:
    """The results of the code checks, and the code if it parses."""

    results: tuple[CheckResult, ...]
    source: str | None


def error(check: str, message: str, line: int | None = None, hint: str | None = None) -> Finding:
    """Return a finding that rejects the answer."""
    return Finding(check, Severity.ERROR, _storable(message), line, hint)


def warning(check: str, message: str, line: int | None = None) -> Finding:
    """Return a finding that does not reject the answer."""
    return Finding(check, Severity.WARNING, _storable(message), line)


def first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the first `FINDINGS` findings, errors before warnings, and the number of further ones."""
    ranked = sorted(findings, key=lambda finding: (finding.severity is not Severity.ERROR, finding.line or 0))
    kept, left = ranked[:FINDINGS], ranked[FINDINGS:]
    if left:
        kept.append(Finding(left[0].check, left[0].severity, f"And {len(left)} more like these."))
    return tuple(kept)


def result_to_dict(result: CheckResult) -> dict[str, Any]:
    """Return a result as plain data, for transfer between processes."""
    return asdict(result)


def result_from_dict(data: Mapping[str, Any]) -> CheckResult:
    """Return the result that `result_to_dict` converted."""
    findings = (Finding(**{**finding, "severity": Severity(finding["severity"])}) for finding in data["findings"])
    return CheckResult(data["check"], tuple(findings), data["score"])


def _storable(message: str) -> str:
    """Remove NUL and lone surrogates, which findings may quote and PostgreSQL cannot store."""
    text = message.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 2]} …"
