"""The agent that checks the drafts of other agents: accepted or rejected, with findings and a score."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from kairos.agents.base import AnswerFormat, AttemptContext, Checks, Draft, Emit, Finding, Severity, Task, Verdict
from kairos.agents.checks.check_result import CheckResult, error
from kairos.agents.checks.code_blocks import has_python
from kairos.agents.checks.content import check_forbidden, check_required
from kairos.agents.checks.form import check_form, check_format, is_empty
from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.checks.json_schema import check_schema
from kairos.agents.checks.python_checks import CheckedCode, check_code, review_code
from kairos.agents.checks.task_tests import check_tests, reject_tests, skip_disallowed_tests, skip_unisolated_tests
from kairos.config import GuardianSettings

WEIGHTS = {"tests": 3.0, "schema": 2.0, "format": 1.0, "require": 1.0, "forbid": 1.0}
"""Weight of each content check. Tests weigh most: only they show whether the answer does the task."""
REJECTED_FACTOR = 0.5
"""Factor on the score of a rejected answer: every approved answer scores higher, and the router still learns that eight
passed tests of nine are better than none."""
SAFE_CHECKS = ("python", "safety", "secrets", "tampering")


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

        The score is the weighted mean of the task's own checks (`WEIGHTS`: format, schema, require, forbid, tests; each
        in [0, 1]), times `REJECTED_FACTOR` if the answer is rejected. Form, safety and secrets contribute no score:
        with only these, the score is None if approved and 0 if rejected. An empty answer scores 0. If a check could not
        run and no other check has a score, the score is None.

        Raises `SandboxFailed` when the tests could not be run. On cancellation, ends the processes that it started.
        """
        form = check_form(draft)
        if is_empty(draft.text):
            return _verdict([form])
        code = await self._code(task, draft.text)
        results = [form, *code.results, *await asyncio.to_thread(_read_only, task.checks, draft.text)]
        return _verdict([*results, *await self._task_checks(task, draft.text, code)])

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Review the code or text in the prompt. The draft lists the findings as Markdown."""
        del attempt, emit
        if is_empty(task.prompt):
            findings: tuple[Finding, ...] = (error("form", "There is nothing to review."),)
        else:
            findings = await review_code(task.prompt, task.project_id)
        return Draft(text=f"# Review\n\n{render_findings(findings)}", finish_reason="stop")

    async def _code(self, task: Task, text: str) -> CheckedCode:
        """Check the answer's code, if it has any, in the limited process."""
        checks = task.checks
        if not await asyncio.to_thread(_is_code, checks, text):
            return CheckedCode((), None)
        return await check_code(text, checks.format, tested=checks.tests is not None, owner=task.project_id)

    async def _task_checks(self, task: Task, text: str, code: CheckedCode) -> list[CheckResult]:
        """Run the task's own schema and tests."""
        found = []
        if task.checks.schema is not None:
            found.append(await check_schema(task.checks.schema, text, task.project_id))
        if task.checks.tests is not None:
            found.append(await self._tests(task, task.checks.tests, code))
        return found

    async def _tests(self, task: Task, source: str, code: CheckedCode) -> CheckResult:
        """Run the task's tests, unless the static checks found the code unsafe or tampering with its tests."""
        if not task.run_tests:
            return skip_disallowed_tests()
        allow_weak = self._settings.allow_weak_isolation
        isolation = await self._host.status() if self._host else None
        if isolation and not isolation.allowed:
            return skip_unisolated_tests(isolation.detail)
        if code.source is None:
            return reject_tests("the code does not parse")
        if any(result.rejects for result in code.results if result.check in SAFE_CHECKS):
            return reject_tests("the code is not safe to run")
        seconds, memory_bytes = self._settings.test_seconds, self._settings.test_memory_mb << 20
        return await check_tests(source, code.source, seconds, memory_bytes, task.project_id, allow_weak=allow_weak)


def render_findings(findings: Iterable[Finding]) -> str:
    """Return the findings as a Markdown list, for people and for the prompt of the next attempt."""
    lines = [
        f"- {finding.severity.value.capitalize()}{f', line {finding.line}' if finding.line else ''}: {finding.message}"
        for finding in findings
    ]
    return "\n".join(lines) or "No findings."


def _read_only(checks: Checks, text: str) -> list[CheckResult]:
    """Run the checks whose cost grows only with the length of the answer: JSON format, required and forbidden texts."""
    results = []
    if checks.format and checks.format is not AnswerFormat.PYTHON:
        results.append(check_format(checks.format, text, None))
    if checks.require:
        results.append(check_required(checks.require, text))
    if checks.forbid:
        results.append(check_forbidden(checks.forbid, text))
    return results


def _is_code(checks: Checks, text: str) -> bool:
    return checks.format is AnswerFormat.PYTHON or checks.tests is not None or has_python(text)


def _verdict(results: Sequence[CheckResult]) -> Verdict:
    findings = tuple(itertools.chain.from_iterable(result.findings for result in results))
    rejected = any(finding.severity is Severity.ERROR for finding in findings)
    names = tuple(result.check for result in results if not _was_skipped(result))
    return Verdict(not rejected, _score(results, rejected), findings, names)


def _score(results: Sequence[CheckResult], rejected: bool) -> float | None:
    scores = {result.check: result.score for result in results if result.score is not None}
    if scores:
        mean = sum(WEIGHTS[check] * score for check, score in scores.items()) / sum(WEIGHTS[check] for check in scores)
        return mean * REJECTED_FACTOR if rejected else mean
    objects = any(result.rejects for result in results if result.check not in WEIGHTS)
    return 0.0 if objects else None


def _was_skipped(result: CheckResult) -> bool:
    """Whether the tests were not run; such a result is not listed as a check."""
    return result.check == "tests" and result.score is None
