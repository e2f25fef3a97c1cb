"""Typed values of a task from submission to result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from kairos.agents.base import Draft, Task, TaskSpec, Verdict
from kairos.agents.checks.requested import spec_from
from kairos.db.models import TaskRow, TaskState
from kairos.lanes import Lane
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, TaskId


@dataclass(frozen=True, slots=True)
class NewTask:
    """A validated submission, built by the API and the CLI and not validated again."""

    prompt: str
    agent: str
    task_type: str | None = None
    spec: TaskSpec = field(default_factory=TaskSpec)
    lane: Lane = Lane.BATCH
    priority: int = 0
    not_before: datetime | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None

    def fingerprint(self) -> bytes:
        """Hash of the submission. A second submission with the same idempotency key must have the same hash."""
        body = {
            "prompt": self.prompt,
            "agent": self.agent,
            "task_type": self.task_type,
            "checks": self.spec.checks.stored(),
            "options": self.spec.stored_options(),
            "lane": self.lane,
            "priority": self.priority,
        }
        return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a task until its lease ends, fenced by `epoch`."""

    task: Task
    lane: Lane
    priority: int
    created_at: datetime
    epoch: int
    max_attempts: int
    timeout_s: float

    @property
    def project_id(self) -> ProjectId:
        return self.task.project_id

    @property
    def task_id(self) -> TaskId:
        return self.task.id

    @property
    def last_attempt(self) -> bool:
        return self.task.attempt >= self.max_attempts


@dataclass(frozen=True, slots=True)
class JudgedDraft:
    """A draft with the guardian's verdict."""

    draft: Draft
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt."""

    state: TaskState
    drafts: tuple[JudgedDraft, ...] = ()
    error: Mapping[str, Any] | None = None
    retry_in_s: float | None = None
    """Seconds before the next attempt; set when `state` is `queued`."""

    @property
    def last(self) -> JudgedDraft | None:
        return self.drafts[-1] if self.drafts else None


def claim_of(row: TaskRow, settings: Mapping[str, Any]) -> Claim:
    """Build the claim from a claimed row and the stored settings of its project."""
    task = Task(
        id=TaskId(row.id),
        project_id=ProjectId(row.project_id),
        prompt=row.prompt,
        agent=row.agent,
        task_type=row.task_type,
        spec=spec_from(row.options, row.checks),
        attempt=row.attempts,
        settings=ProjectSettings.of(settings),
    )
    return Claim(task, Lane(row.lane), row.priority, row.created_at, row.epoch, row.max_attempts, row.timeout_s)


def sample_prompt(draft: Draft | None, prompt: str) -> list[dict[str, str]]:
    """The messages sent to the model; the prompt alone if no model was called."""
    return [dict(m) for m in draft.messages] if draft and draft.messages else [{"role": "user", "content": prompt}]


def as_uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
