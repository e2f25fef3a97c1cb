"""The types that agents and the guardian exchange: task, attempt context, draft, finding and verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kairos.db.models import EventKind
from kairos.llm.calls.answer_limits import AnswerLimit
from kairos.tenancy import ProjectId, TaskId

RULES = "3"
"""Version of the guardian's rules. Raise it whenever a check accepts what it rejected before, or the reverse."""


BUILT_IN = ("ExecutionAgent", "GuardianAgent", "TrainingAgent")
"""Names reserved for the built-in agents."""


class AnswerFormat(StrEnum):
    """The format an answer must have; the guardian rejects any other."""

    TEXT = "text"
    JSON = "json"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks that a submitter requests for the answer. All are optional; without any, the answer has no score."""

    format: AnswerFormat | None = None
    schema: Mapping[str, Any] | None = None
    """A JSON Schema (2020-12) that the answer, read as JSON, must satisfy."""
    require: tuple[str, ...] = ()
    """Texts that must occur in the answer (case-insensitive)."""
    forbid: tuple[str, ...] = ()
    """Texts that must not occur in the answer (case-insensitive)."""
    tests: str | None = None
    """Python source: `test_*` functions or bare asserts that the answer's code must pass."""

    def can_score(self) -> bool:
        """Whether any check can give the answer a score."""
        return bool(self.format or self.schema or self.require or self.forbid or self.tests)

    def stored(self) -> dict[str, Any]:
        """Return the checks as stored in a row, without those that are not set."""
        values = {
            "format": self.format,
            "schema": self.schema,
            "require": list(self.require),
            "forbid": list(self.forbid),
            "tests": self.tests,
        }
        return {name: value for name, value in values.items() if value not in (None, [])}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Checks:
        """Return the checks that `stored` wrote."""
        return cls(
            format=AnswerFormat(stored["format"]) if "format" in stored else None,
            schema=stored.get("schema"),
            require=tuple(stored.get("require", ())),
            forbid=tuple(stored.get("forbid", ())),
            tests=stored.get("tests"),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as an agent receives it: one attempt at one prompt, in one project."""

    id: TaskId
    project_id: ProjectId
    prompt: str
    agent: str
    task_type: str | None
    """The caller's label for the kind of work; None lets Kairos classify it."""
    checks: Checks
    attempt: int
    """Starts at 1; a lost lease or a transient failure starts the next attempt."""
    model: str | None = None
    """The catalogue name of a required model; None leaves the choice to the router."""
    system: str | None = None
    """System prompt of the caller, in place of the agent's own."""
    temperature: float | None = None
    max_tokens: int | None = None
    session: str | None = None
    """Calls of one session use one model until it fails."""
    run_tests: bool = True
    """Whether the project allows the guardian to run the task's tests in a child process."""
    cache: bool | None = None
    """Whether an answer may come from the cache; None decides by the temperature."""
    cache_control: str | None = None
    """The submitter's `Cache-Control` header."""
    local_only: bool = False
    """Whether the project allows local models only."""
    plugin_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The project's configuration of each plugin, by plugin name."""


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


class Agent(Protocol):
    """Performs tasks. Agents are looked up by name or by capability."""

    name: str
    capabilities: frozenset[str]

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Produce a draft. Raises `KairosError` on failure; must stop promptly when cancelled."""
        ...
