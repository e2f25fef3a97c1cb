"""The agent that checks the drafts of other agents: accepted or rejected, with findings and a score."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from kairos.agents.base import AttemptContext, Draft, Emit, Task, Verdict
from kairos.agents.checks.answer_format import FORMAT
from kairos.agents.checks.check_result import CheckedCode, CheckResult, error
from kairos.agents.checks.code_blocks import has_python
from kairos.agents.checks.form import check_form, is_empty
from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.checks.python_checks import check_code, review_code
from kairos.agents.checks.registry import CHECKS, Check, CheckedAnswer, CodeLimits
from kairos.agents.checks.requested import requested
from kairos.agents.checks.task_tests import TESTS
from kairos.agents.finding import Finding, Severity
from kairos.config import GuardianSettings

REJECTED_FACTOR = 0.5
"""Factor on the score of a rejected answer: every approved answer scores higher, and the router still learns that eight
passed tests of nine are better than none."""


class GuardianAgent:
    """Judges drafts, and reviews code or text as a task of its own. Calls no model."""

    name = "GuardianAgent"
    capabilities = frozenset({"review"})

    def __init__(self, settings: GuardianSettings | None = None, host: HostIsolation | None = None) -> None:
        """Without `host`, each sandbox run decides by itself whether it can isolate code."""
        self._settings = settings or GuardianSettings()
        self._host = host

    async def judge(self, task: Task, draft: Draft) -> Verdict:
        """Return the verdict on a draft: approved when no finding is an error.

        The score is the weighted mean of the task's own checks (with the weights in the registry; each in
        [0, 1]), times `REJECTED_FACTOR` if the answer is rejected. Form, safety and secrets contribute no score:
        with only these, the score is None if approved and 0 if rejected. An empty answer scores 0. If a check could not
        run and no other check has a score, the score is None.

        Raises `SandboxFailed` when the tests could not be run. On cancellation, ends the processes that it started.
        """
        form = check_form(draft)
        if is_empty(draft.text):
            return _verdict([form])
        checks = requested(task.spec.checks)
        answer = CheckedAnswer(task, draft.text, await self._code(task, draft.text, checks), self._limits())
        own = [await check.run(parameter, answer) for check, parameter in checks]
        general = [result for result in answer.code.results if result.check not in CHECKS]
        return _verdict([form, *general, *[result for result in own if result]])

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Review the code or text in the prompt. The draft lists the findings as Markdown."""
        del attempt, emit
        if is_empty(task.prompt):
            findings: tuple[Finding, ...] = (error("form", "There is nothing to review."),)
        else:
            findings = await review_code(task.prompt, task.project_id)
        return Draft(text=f"# Review\n\n{render_findings(findings)}", finish_reason="stop")

    async def _code(self, task: Task, text: str, checks: Sequence[tuple[Check[Any], Any]]) -> CheckedCode:
        """Check the answer's code, if it has any, in the limited process."""
        needed = any(check.reads_code(parameter) for check, parameter in checks)
        if not needed and not await asyncio.to_thread(has_python, text):
            return CheckedCode((), None)
        tested = TESTS.of(task.spec.checks) is not None
        return await check_code(text, FORMAT.of(task.spec.checks), tested=tested, owner=task.project_id)

    def _limits(self) -> CodeLimits:
        settings = self._settings
        memory_bytes = settings.test_memory_mb << 20
        return CodeLimits(settings.test_seconds, memory_bytes, settings.allow_weak_isolation, self._refusal)

    async def _refusal(self) -> str | None:
        """The reason why this host runs no tests, or None."""
        isolation = await self._host.status() if self._host else None
        return isolation.detail if isolation and not isolation.allowed else None


def render_findings(findings: Iterable[Finding]) -> str:
    """Return the findings as a Markdown list, for people and for the prompt of the next attempt."""
    lines = [
        f"- {finding.severity.value.capitalize()}{f', line {finding.line}' if finding.line else ''}: {finding.message}"
        for finding in findings
    ]
    return "\n".join(lines) or "No findings."


def _verdict(results: Sequence[CheckResult]) -> Verdict:
    findings = tuple(itertools.chain.from_iterable(result.findings for result in results))
    rejected = any(finding.severity is Severity.ERROR for finding in findings)
    names = tuple(result.check for result in results if not result.skipped)
    return Verdict(not rejected, _score(results, rejected), findings, names)


def _score(results: Sequence[CheckResult], rejected: bool) -> float | None:
    scores = {result.check: result.score for result in results if result.score is not None}
    if scores:
        weights = {check: CHECKS[check].weight for check in scores}
        mean = sum(weights[check] * score for check, score in scores.items()) / sum(weights.values())
        return mean * REJECTED_FACTOR if rejected else mean
    objects = any(result.rejects for result in results if result.check not in CHECKS)
    return 0.0 if objects else None
