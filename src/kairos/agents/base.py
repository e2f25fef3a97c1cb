"""What an agent is given, what it gives back, and what the guardian says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kairos.llm.calls.answer_limits import AnswerLimit
from kairos.tenancy import ProjectId, TaskId

RULES = "3"
"""Version of the guardian's rules: raised when a check approves what it rejected before, or the other way round."""


BUILT_IN = ("ExecutionAgent", "GuardianAgent", "TrainingAgent")
"""The names that no plugin can have."""


class AnswerFormat(StrEnum):
    """The form an answer must have; the guardian refuses any other."""

    TEXT = "text"
    JSON = "json"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Checks:
    """What a task's submitter demands of the answer. Everything is optional; with nothing set, nothing is measured."""

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
        """Whether any of them can measure how good an answer is."""
        return bool(self.format or self.schema or self.require or self.forbid or self.tests)

    def stored(self) -> dict[str, Any]:
        """As a row keeps them: what was not set is left out."""
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
        """What `stored` wrote."""
        return cls(
            format=AnswerFormat(stored["format"]) if "format" in stored else None,
            schema=stored.get("schema"),
            require=tuple(stored.get("require", ())),
            forbid=tuple(stored.get("forbid", ())),
            tests=stored.get("tests"),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as an agent sees it: one attempt at one prompt, in one project."""

    id: TaskId
    project_id: ProjectId
    prompt: str
    agent: str
    task_type: str | None
    """The caller's own word for the kind of work; None lets Kairos classify it."""
    checks: Checks
    attempt: int
    """1 for the first claim of the row; a worker that died or failed makes the next one 2."""
    model: str | None = None
    """A catalogue name the caller insists on; None leaves the choice to the router."""
    system: str | None = None
    """The caller's instructions, in place of the agent's own."""
    temperature: float | None = None
    max_tokens: int | None = None
    session: str | None = None
    """Calls of one session stay with one model until it fails."""
    run_tests: bool = True
    """Whether the project allows the guardian to run the task's tests in a child process."""
    cache: bool | None = None
    """Whether an answer may come from the cache; None leaves it to the temperature."""
    cache_control: str | None = None
    """The submitter's header of that name."""
    local_only: bool = False
    """Whether the project forbids that prompts leave the operator's own hardware."""
    plugin_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the project sets of the configuration of plugins, by name."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an agent produced, before the guardian has spoken."""

    text: str
    finish_reason: str | None
    """`stop`, `tool_calls`, or `length` where the token limit cut it off; None is no whole draft."""
    decision_id: str | None = None
    """The routing decision that the text came from; None when no model was called."""
    model: str | None = None
    messages: tuple[Mapping[str, str], ...] = ()
    """The prompt as the model saw it."""
    cached: bool = False
    reasoning: str = ""
    """What the model wrote before its answer. It is no part of `text`, and nothing judges it."""
    limit: AnswerLimit | None = None
    """The most tokens that the answer could have; None where no model was called."""


class Severity(StrEnum):
    """Whether a finding alone rejects the answer."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the guardian has to say, in words a model and a person can act on."""

    check: str
    severity: Severity
    message: str
    line: int | None = None
    """1-based line of the answer that the finding speaks of."""
    hint: str | None = None
    """What the model is told in place of the message, where that would give the answer away."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guardian's word on a draft."""

    approved: bool
    score: float | None
    """Quality in [0, 1] that the router learns from; None where no check spoke of the content."""
    findings: tuple[Finding, ...] = ()
    checks: tuple[str, ...] = ()
    """Names of the checks that were run, so that a reader knows what was not."""


Emit = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Records an event of the task: its kind and its data."""


class TextStream(Protocol):
    """Where those listen who watch a draft being written."""

    async def piece(self, text: str) -> None:
        """The next piece of it."""
        ...

    def restart(self) -> None:
        """What was written so far counts no more; it begins anew."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """Everything about this try besides the task itself."""

    findings: tuple[Finding, ...] = ()
    """What the guardian rejected in the try before; empty on the first."""
    rejected: str | None = None
    """The answer that the findings speak of."""
    avoid_models: frozenset[str] = frozenset()
    """Models whose answer to this task was rejected already."""
    context: tuple[str, ...] = field(default=())
    """What memory recalled for the task; empty until memory is built."""
    timeout_s: float = 600
    """What is left of the task's time."""
    stream: TextStream | None = None
    """None: nobody may watch."""


class Agent(Protocol):
    """Something that can take a task. Agents are looked up by name and by capability."""

    name: str
    capabilities: frozenset[str]

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Produce a draft. Raises a `KairosError` when it cannot; must stop promptly when cancelled."""
        ...
