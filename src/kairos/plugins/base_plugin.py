"""The plugin API: a plugin is a class with a name, capabilities and a method that runs a task.

    class Greeter(BasePlugin):
        def get_name(self):
            return "Greeter"

        def get_capabilities(self):
            return ["greet"]

        def execute(self, task):
            return f"Hello, {task.prompt}!"

Imports the standard library only, so that plugin processes start fast.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


class PluginError(Exception):
    """Raised by a plugin when a task cannot be done: the task fails with this message, without counting as a failure of
    the plugin.

    With `retryable=True` the task is queued again, because it may succeed later.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class CallFailed(PluginError):
    """A call of a sync plugin's context failed; `code` is the error's code, such as `http_status`.

    If it is not caught, the task fails with the original error. (Async plugins receive the original error directly.)
    """

    def __init__(self, message: str, code: str, *, retryable: bool, number: int = 0) -> None:
        super().__init__(message, retryable=retryable)
        self.code = code
        self.number = number
        """Number of the call, by which the daemon finds its original error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a model. If `execute` returns it unchanged, the router records the verdict on it."""

    text: str
    model: str
    """Name in the catalogue."""
    finish_reason: str | None = None
    """`stop`, `tool_calls`, or `length` if the token limit cut the answer."""
    cached: bool = False
    number: int = 0
    """Number of the call within this execution."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class PluginFinding:
    """A finding of the guardian on the previous answer."""

    check: str
    message: str
    line: int | None = None
    """1-based line of the answer."""


class Models(Protocol):
    """Calls to the project's models, through its router and with the task's options (model, session, `local_only`)."""

    def complete(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        stream: bool = False,
    ) -> Any:
        """Call the model that the router chooses. Returns an `Answer`.

        `prompt` is a text, or messages with `role` and `content`. `schema` requests JSON of this schema, if the server
        supports it. `stream=True` streams the answer to watching clients; use it if the answer is returned unchanged.
        """


class Storage(Protocol):
    """Small JSON values of this plugin in this project: at most 1,000 keys of 200 characters, 64 KiB for each value."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default if there is none."""

    def set(self, key: str, value: Any) -> Any:
        """Store a JSON value, replacing an existing one."""

    def delete(self, key: str) -> Any:
        """Delete a value. Returns False if there was none."""

    def keys(self, prefix: str = "") -> Any:
        """The keys with this prefix, sorted."""


class Http(Protocol):
    """HTTP calls, limited in time (30 s by default, never longer than the task) and size (4 MiB).

    Any status except 2xx is an error; redirects are not followed.
    """

    def get_json(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """GET a JSON document."""

    def get_text(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """GET a text, decoded as UTF-8."""

    def post_json(
        self, url: str, value: Any, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> Any:
        """POST a value as JSON. Returns the JSON of the response."""


@dataclass(frozen=True, slots=True)
class PluginContext:
    """Services for a plugin, within the task's project. Calls are awaited in async plugins, and block in sync ones."""

    config: Mapping[str, Any]
    """Values valid by `config_schema`, with defaults filled in: the system's values, overridden by the project's."""
    llm: Models
    storage: Storage
    http: Http
    log: logging.Logger
    """Writes to the daemon's log under the plugin's name."""


@dataclass(frozen=True, slots=True)
class PluginTask:
    """A task as passed to a plugin: one execution of a prompt in one project."""

    id: str
    project_id: str
    prompt: str
    attempt: int
    """1 for the first attempt; higher after a worker died or a retryable error."""
    timeout_s: float
    """Seconds left of the task's time; then `execute` is ended."""
    context: PluginContext
    findings: tuple[PluginFinding, ...] = ()
    """The reasons why the guardian rejected the previous answer; empty for the first draft."""
    rejected: str | None = None
    """The previous answer, if it was rejected."""


class BasePlugin(ABC):
    """Base class of plugins, instantiated without arguments.

    A sync `execute` runs in a new process for each task. An async `execute` runs in the daemon, on one object for the
    tasks of all projects, and must not block.
    """

    config_schema: ClassVar[Mapping[str, Any]] = {}
    """JSON Schema (2020-12) of the configuration, an object; `default`s are filled in. Properties with
    `"writeOnly": true` are secrets: only the system's configuration may set them, and the API never shows them."""

    @abstractmethod
    def get_name(self) -> str:
        """The agent's unique name: at most 100 letters, digits, `_`, `-` and `.`."""

    @abstractmethod
    def get_capabilities(self) -> Iterable[str]:
        """Capabilities that tasks may request instead of the name. Built-in agents take precedence."""

    @abstractmethod
    def execute(self, task: PluginTask) -> Any:
        """Run the task; `def` or `async def`.

        Returns a text, a dict or list (rendered as JSON), or the `Answer` of `context.llm.complete` itself.
        Raises `PluginError` if the task cannot be done.
        """

    def on_start(self) -> Any:  # noqa: B027 - optional
        """Called before the first task: for an async plugin once in each daemon, for a sync one in each process."""

    def on_stop(self) -> Any:  # noqa: B027
        """Called after the last task, unless the process was killed."""
