"""Minimal tasks and drafts for tests of the guardian."""

from __future__ import annotations

from typing import Any

from kairos.agents.base import Draft, Task, TaskSpec, Verdict
from kairos.agents.checks.requested import RequestedChecks
from kairos.agents.finding import Severity
from kairos.agents.guardian import GuardianAgent
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, TaskId, new_id


def task(*, run_tests: bool = True, prompt: str = "x", **checks: Any) -> Task:
    """Return a task with these checks."""
    return Task(
        id=TaskId(new_id()),
        project_id=ProjectId(new_id()),
        prompt=prompt,
        agent="ExecutionAgent",
        task_type=None,
        spec=TaskSpec(checks=RequestedChecks.model_construct(**checks)),  # also checks that the API refuses
        attempt=1,
        settings=ProjectSettings(run_tests=run_tests),
    )


async def judged(text: str, *, finish_reason: str | None = "stop", run_tests: bool = True, **checks: Any) -> Verdict:
    """Return the guardian's verdict on an answer."""
    return await GuardianAgent().judge(task(run_tests=run_tests, **checks), Draft(text, finish_reason))


def errors(verdict: Verdict) -> str:
    """Return the messages of all findings that reject the draft."""
    return "\n".join(finding.message for finding in verdict.findings if finding.severity is Severity.ERROR)


def python(code: str) -> str:
    """Return the code in a fence, as models return it."""
    return f"```python\n{code}\n```"
