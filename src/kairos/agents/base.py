"""The types that agents and the guardian exchange: task, attempt context, draft and verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from kairos.agents.finding import Finding
from kairos.db.models import EventKind
from kairos.llm.calls.answer_limits import AnswerLimit
from kairos.llm.calls.call_options import CallOptions
from kairos.llm.routing.call_terms import CallContext, CallJournal
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, TaskId

RULES = "3"
"""Version of the guardian's rules. Raise it whenever a check accepts what it rejected before, or the reverse."""


class Checks(BaseModel):
    """The checks that a submitter requests for the answer. All are optional; without any, the answer has no score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def stored(self) -> dict[str, Any]:
        """Return the checks as stored in a row, without those that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def can_score(self) -> bool:
        """Whether any check can give the answer a score."""
        return any(self.stored().values())


class TaskSpec(CallOptions):
    """The request for a task besides the prompt: the options of the model call, and the checks."""

    cache_control: str | None = None
    """The submitter's `Cache-Control` header."""
    checks: SerializeAsAny[Checks] = Checks()

    def stored_options(self) -> dict[str, Any]:
        """Return the options as stored in a row, without those that are not set."""
        return self.model_dump(mode="json", exclude={"checks"}, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as an agent receives it: one attempt at one prompt, in one project."""

    id: TaskId
    project_id: ProjectId
    prompt: str
    agent: str
    task_type: str | None
    """The caller's label for the kind of work; None lets Kairos classify it."""
    spec: TaskSpec
    attempt: int
    """Starts at 1; a lost lease or a transient failure starts the next attempt."""
    settings: ProjectSettings = field(default_factory=ProjectSettings)
    """The settings of the project when the attempt started."""

    def call_context(self, attempt: AttemptContext) -> CallContext:
        """Return the context of a model call for this task."""
        return CallContext(
            project_id=self.project_id,
            options=self.spec,
            task_id=self.id,
            attempt=self.attempt,
            task_type=self.task_type,
            prompt=self.prompt,
            local_only=self.settings.local_only,
            avoid=attempt.avoid_models,
            cache_control=self.spec.cache_control,
            rules=RULES,
            checks=self.spec.checks.stored(),
            journal=attempt.journal,
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent's text before the guardian has checked it."""

    text: str
    finish_reason: str | None
    """`stop`, `tool_calls`, or `length` if the token limit cut the text off; None for an incomplete draft."""
    decision_id: str | None = None
    """The routing decision of the model call; None when no model was called."""
    model: str | None = None
    messages: tuple[Mapping[str, str], ...] = ()
    """The prompt as sent to the model."""
    cached: bool = False
    reasoning: str = ""
    """The model's reasoning, which is not part of `text` and is not checked."""
    limit: AnswerLimit | None = None
    """The answer's token limit; None when no model was called."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guardian's ruling on a draft."""

    approved: bool
    score: float | None
    """Quality in [0, 1] that the router learns from; None if no check could score the content."""
    findings: tuple[Finding, ...] = ()
    checks: tuple[str, ...] = ()
    """Names of the checks that were run."""


Emit = Callable[[EventKind, Mapping[str, Any]], Awaitable[None]]
"""Records a task event, given its kind and data."""


class TextStream(Protocol):
    """Publishes a draft to its viewers while it is being written."""

    async def piece(self, text: str) -> None:
        """Publish the next piece of text."""
        ...

    def restart(self) -> None:
        """Discard the text published so far; the draft starts again."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What an agent knows about the current attempt besides the task."""

    findings: tuple[Finding, ...] = ()
    """Findings on the previous draft; empty for the first."""
    rejected: str | None = None
    """The rejected draft that the findings refer to."""
    avoid_models: frozenset[str] = frozenset()
    """Models whose draft for this task has been rejected."""
    context: tuple[str, ...] = field(default=())
    """Context recalled from memory; empty until memory is implemented."""
    timeout_s: float = 600
    """Remaining time of the task, in seconds."""
    stream: TextStream | None = None
    """None if the draft is not published while it is written."""
    journal: CallJournal | None = None
    """Stores the records of model calls with the result of the attempt; None stores them at once."""


class Agent(Protocol):
    """Performs tasks. Agents are looked up by name or by capability."""

    name: str
    capabilities: frozenset[str]

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Produce a draft. Raises `KairosError` on failure; must stop promptly when cancelled."""
        ...
