"""Typed values of a task from submission to result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from kairos.agents.base import Checks, Draft, Task, Verdict
from kairos.db.models import TaskRow, TaskState
from kairos.lanes import Lane
from kairos.tenancy import ProjectId, TaskId


@dataclass(frozen=True, slots=True)
class NewTask:
    """A validated submission, built by the API and the CLI and not validated again."""

    prompt: str
    agent: str
    task_type: str | None = None
    checks: Checks = field(default_factory=Checks)
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    session: str | None = None
    cache: bool | None = None
    cache_control: str | None = None
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
            "checks": self.checks.stored(),
            "options": stored_options(self),
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
    hold_answers: bool = False
    """Hide the answer until its verdict."""
    disabled_agents: frozenset[str] = frozenset()
    """Names of the agents that the project has disabled."""

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


@dataclass(frozen=True, slots=True)
class ProjectRules:
    """Project settings that apply to its tasks."""

    run_tests: bool = True
    local_only: bool = False
    hold_answers: bool = False
    disabled_agents: frozenset[str] = frozenset()
    plugin_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ProjectRules:
        return cls(
            run_tests=settings.get("run_tests", True),
            local_only=settings.get("local_only", False),
            hold_answers=settings.get("hold_answers", False),
            disabled_agents=frozenset(settings.get("disabled_plugins", ())),
            plugin_settings=settings.get("plugin_settings", {}),
        )


def claim_of(row: TaskRow, rules: ProjectRules) -> Claim:
    """Build the claim from a claimed row and the project's rules."""
    options = row.options
    task = Task(
        id=TaskId(row.id),
        project_id=ProjectId(row.project_id),
        prompt=row.prompt,
        agent=row.agent,
        task_type=row.task_type,
        checks=Checks.of(row.checks),
        attempt=row.attempts,
        model=options.get("model"),
        system=options.get("system"),
        temperature=options.get("temperature"),
        max_tokens=options.get("max_tokens"),
        session=options.get("session"),
        cache=options.get("cache"),
        cache_control=options.get("cache_control"),
        run_tests=rules.run_tests,
        local_only=rules.local_only,
        plugin_settings=rules.plugin_settings,
    )
    return Claim(
        task,
        Lane(row.lane),
        row.priority,
        row.created_at,
        row.epoch,
        row.max_attempts,
        row.timeout_s,
        rules.hold_answers,
        rules.disabled_agents,
    )


def stored_options(task: NewTask) -> dict[str, Any]:
    values = {
        "model": task.model,
        "system": task.system,
        "temperature": task.temperature,
        "max_tokens": task.max_tokens,
        "session": task.session,
        "cache": task.cache,
        "cache_control": task.cache_control,
    }
    return {name: value for name, value in values.items() if value is not None}


def sample_prompt(draft: Draft | None, prompt: str) -> list[dict[str, str]]:
    """The messages sent to the model; the prompt alone if no model was called."""
    return [dict(m) for m in draft.messages] if draft and draft.messages else [{"role": "user", "content": prompt}]


def as_uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
