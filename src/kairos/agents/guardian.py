"""The agent that checks what the others make: approved or rejected, why, and how good."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from kairos.agents.base import AnswerFormat, Brief, Checks, Draft, Emit, Finding, Severity, Task, Verdict
from kairos.agents.checks.code_blocks import has_python
from kairos.agents.checks.content import check_forbidden, check_required
from kairos.agents.checks.dangers import check_dangers
from kairos.agents.checks.form import check_form, check_format, is_empty
from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.checks.json_schema import check_schema
from kairos.agents.checks.opinion import Opinion, error
from kairos.agents.checks.python_syntax import Program, Unreadable, check_syntax, read_python
from kairos.agents.checks.secret_literals import check_secrets
from kairos.agents.checks.tampering import check_tampering
from kairos.agents.checks.task_tests import check_tests, forgo_isolation, forgo_tests, refuse_tests
from kairos.config import GuardianSettings

WEIGHTS = {"tests": 3.0, "schema": 2.0, "format": 1.0, "require": 1.0, "forbid": 1.0}
"""What each check of the content counts. Tests most: they alone say whether the answer does what was asked."""
REJECTED = 0.5
"""A rejected answer keeps this share of what its checks found: any approved one scores higher, and the router still
learns that eight tests of nine are better than none."""
INTRODUCTION = 10
"""Lines of prose before unfenced code that a review skips."""
SAFE_CHECKS = ("python", "safety", "secrets", "tampering")


class GuardianAgent:
    """Judges drafts, and reviews code or text as a task of its own. It asks no model."""

    name = "GuardianAgent"
    capabilities = frozenset({"review"})

    def __init__(self, settings: GuardianSettings | None = None, host: HostIsolation | None = None) -> None:
        """Without a host, each run of the sandbox still decides by itself whether it can isolate code."""
        self._settings = settings or GuardianSettings()
        self._host = host

    async def judge(self, task: Task, draft: Draft) -> Verdict:
        """Approved when no finding is an error.

        The score is the weighted mean of what the checks given with the task found (`WEIGHTS`: format, schema, require,
        forbid, tests; each in [0, 1]), times `REJECTED` if the answer is rejected. Form, safety and secrets can only
        object: approved with nothing else to say, the score is None; rejected with nothing else to say, 0. An empty
        answer scores 0. Where the only finding is that a check could not be made, the score is None too.

        Raises `SandboxFailed` when the tests could not be run. Cancelled, it ends the processes that it started.
        """
        form = check_form(draft)
        if is_empty(draft.text):
            return _verdict([form])
        opinions = [form, *await asyncio.to_thread(_read_only, task, draft.text)]
        return _verdict([*opinions, *await self._demanding(task, draft.text, opinions)])

    async def perform(self, task: Task, brief: Brief, emit: Emit) -> Draft:
        """Review the code or text in the prompt; the draft is the findings as Markdown."""
        del brief, emit
        if is_empty(task.prompt):
            findings: tuple[Finding, ...] = (error("form", "There is nothing to review."),)
        else:
            findings = await asyncio.to_thread(_review, task.prompt)
        return Draft(text=f"# Review\n\n{render_findings(findings)}", finish_reason="stop")

    async def _demanding(self, task: Task, text: str, opinions: Sequence[Opinion]) -> list[Opinion]:
        """The checks that start processes."""
        found = []
        if task.checks.schema is not None:
            found.append(await check_schema(task.checks.schema, text))
        if task.checks.tests is not None:
            found.append(await self._tests(task, task.checks.tests, text, opinions))
        return found

    async def _tests(self, task: Task, source: str, text: str, opinions: Sequence[Opinion]) -> Opinion:
        """Code that is dangerous by its looks, or reaches for its judge, is not run."""
        if not task.run_tests:
            return forgo_tests()
        weakly = self._settings.allow_weak_isolation
        isolation = await self._host.known() if self._host else None
        if isolation and not isolation.allowed:
            return forgo_isolation(isolation.detail)
        program = await asyncio.to_thread(read_python, text)
        if not isinstance(program, Program):
            return refuse_tests("the code does not parse")
        if any(opinion.rejects for opinion in opinions if opinion.check in SAFE_CHECKS):
            return refuse_tests("the code is not safe to run")
        memory = self._settings.test_memory_mb << 20
        return await check_tests(source, program, self._settings.test_seconds, memory, weakly=weakly)


def render_findings(findings: Iterable[Finding]) -> str:
    """Findings as a Markdown list, for a person and for the prompt of the next try."""
    lines = [
        f"- {finding.severity.value.capitalize()}{f', line {finding.line}' if finding.line else ''}: {finding.message}"
        for finding in findings
    ]
    return "\n".join(lines) or "No findings."


def _read_only(task: Task, text: str) -> list[Opinion]:
    """The checks that only read the answer."""
    checks = task.checks
    code = read_python(text) if _is_code(checks, text) else None
    opinions = _on_code(code, tested=checks.tests is not None) if code else []
    if checks.format:
        opinions.append(check_format(checks.format, text, code))
    if checks.require:
        opinions.append(check_required(checks.require, text))
    if checks.forbid:
        opinions.append(check_forbidden(checks.forbid, text))
    return opinions


def _is_code(checks: Checks, text: str) -> bool:
    return checks.format is AnswerFormat.PYTHON or checks.tests is not None or has_python(text)


def _on_code(code: Program | Unreadable, *, tested: bool) -> list[Opinion]:
    if isinstance(code, Unreadable):
        return [check_syntax(code)]
    try:
        opinions = [check_syntax(code), check_dangers(code), check_secrets(code)]
        return [*opinions, check_tampering(code)] if tested else opinions
    except RecursionError:
        return [check_syntax(Unreadable("The code is nested too deeply to be checked."))]


def _review(text: str) -> tuple[Finding, ...]:
    code = read_python(text) if has_python(text) else _unfenced(text)
    opinions = _on_code(code, tested=False) if code else []
    return tuple(finding for opinion in opinions for finding in opinion.findings)


def _unfenced(text: str) -> Program | None:
    """Code that stands in a prompt without a fence, after at most a few lines that say what to do with it."""
    lines = text.split("\n")
    for skipped in range(min(INTRODUCTION, len(lines))):
        code = read_python("\n" * skipped + "\n".join(lines[skipped:]))
        if isinstance(code, Program) and code.tree.body:
            return code
    return None


def _verdict(opinions: Sequence[Opinion]) -> Verdict:
    findings = tuple(itertools.chain.from_iterable(opinion.findings for opinion in opinions))
    rejected = any(finding.severity is Severity.ERROR for finding in findings)
    names = tuple(opinion.check for opinion in opinions if not _was_forgone(opinion))
    return Verdict(not rejected, _score(opinions, rejected), findings, names)


def _score(opinions: Sequence[Opinion], rejected: bool) -> float | None:
    scores = {opinion.check: opinion.score for opinion in opinions if opinion.score is not None}
    if scores:
        mean = sum(WEIGHTS[check] * score for check, score in scores.items()) / sum(WEIGHTS[check] for check in scores)
        return mean * REJECTED if rejected else mean
    objects = any(opinion.rejects for opinion in opinions if opinion.check not in WEIGHTS)
    return 0.0 if objects else None


def _was_forgone(opinion: Opinion) -> bool:
    """Tests that the project does not allow were not run; saying so is no check."""
    return opinion.check == "tests" and opinion.score is None
