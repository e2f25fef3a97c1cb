"""What a plugin is made of: a class with a name, capabilities, and something it does with a task.

    class Greeter(BasePlugin):
        def get_name(self):
            return "Greeter"

        def get_capabilities(self):
            return ["greet"]

        def execute(self, task):
            return f"Hello, {task.prompt}!"

The standard library alone: throw-away processes import this file, and should not be kept waiting by it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


class PluginError(Exception):
    """Raise it when a task cannot be done: it fails with these words, and they are no fault of the plugin.

    `retryable=True` where the same task may well succeed later: it is queued again.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class CallFailed(PluginError):
    """A call of a sync plugin's context failed; `code` is that of the error, such as `http_status`.

    Not caught, it fails the task with the very error that the call met. (An async plugin meets that error itself.)
    """

    def __init__(self, message: str, code: str, *, retryable: bool, number: int = 0) -> None:
        super().__init__(message, retryable=retryable)
        self.code = code
        self.number = number
        """Of the call, so that the daemon knows its own error again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered. Returned from `execute` as it is, the router learns from the verdict on it."""

    text: str
    model: str
    """Name in the catalogue."""
    finish_reason: str | None = None
    """`stop`, `tool_calls`, or `length` where the token limit cut the answer off."""
    cached: bool = False
    number: int = 0
    """Of the call within this execution."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class PluginFinding:
    """One thing that the guardian had to say of the answer before."""

    check: str
    message: str
    line: int | None = None
    """1-based line of that answer."""


class Models(Protocol):
    """The project's models, behind its router and under the task's rules (model, session, `local_only`)."""

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
        """Ask the model that the router chooses. Gives an `Answer`.

        `prompt` is a text, or messages with `role` and `content`. With `schema` a server that can is told to answer
        with such JSON. `stream=True` shows the answer to watchers as it comes: for one that is returned as it is.
        """


class Storage(Protocol):
    """Small JSON values, kept for this plugin in this project: at most 1,000 keys of 200 characters, 64 KiB a value."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where there is none."""

    def set(self, key: str, value: Any) -> Any:
        """Keep a JSON value, in place of the one before."""

    def delete(self, key: str) -> Any:
        """Forget it. Gives whether there was one."""

    def keys(self, prefix: str = "") -> Any:
        """The keys that begin so, sorted."""


class Http(Protocol):
    """Calls of other servers, with limits on time (30 s unless told, never beyond the task's) and size (4 MiB).

    Any status but 2xx is an error; redirects are not followed.
    """

    def get_json(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The JSON at an address."""

    def get_text(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The text at an address, read as UTF-8."""

    def post_json(
        self, url: str, value: Any, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> Any:
        """Send a value as JSON; the JSON that comes back."""


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a plugin may use, within the task's project. Its calls are awaited in an async plugin, and block in a sync
    one."""

    config: Mapping[str, Any]
    """By `config_schema`, its defaults filled in: the system's values with the project's over them."""
    llm: Models
    storage: Storage
    http: Http
    log: logging.Logger
    """Into the daemon's log, under the plugin's name."""


@dataclass(frozen=True, slots=True)
class PluginTask:
    """A task as a plugin sees it: one try at one prompt, in one project."""

    id: str
    project_id: str
    prompt: str
    attempt: int
    """1 at first; more where a worker died, or an error that may pass made it queue again."""
    timeout_s: float
    """What is left of the task's time. After it, `execute` is ended."""
    context: PluginContext
    findings: tuple[PluginFinding, ...] = ()
    """Why the guardian rejected the answer before; empty on the first try."""
    rejected: str | None = None
    """That answer."""


class BasePlugin(ABC):
    """Made without arguments. A sync `execute` runs in a process of its own, made anew each time; an async one runs in
    the daemon, on one object for the tasks of all projects, and must await what takes time."""

    config_schema: ClassVar[Mapping[str, Any]] = {}
    """JSON Schema (2020-12) of its configuration, an object; `default`s are filled in. Properties with
    `"writeOnly": true` are secrets: only the system's configuration may set them, and the API never shows them."""

    @abstractmethod
    def get_name(self) -> str:
        """The agent's name, unique: letters, digits, `_`, `-`, `.`; at most 100."""

    @abstractmethod
    def get_capabilities(self) -> Iterable[str]:
        """What tasks may ask for in place of the name. The built-in agents are asked first."""

    @abstractmethod
    def execute(self, task: PluginTask) -> Any:
        """Do the task: `def` or `async def`.

        Gives a text, a dict or list (rendered as JSON), or the `Answer` of `context.llm.complete` itself.
        Raise `PluginError` where it cannot be done.
        """

    def on_start(self) -> Any:  # noqa: B027 - empty on purpose: most need none
        """Before the first task: of an async plugin once in each daemon, of a sync one in each of its processes."""

    def on_stop(self) -> Any:  # noqa: B027
        """After the last task, where the process was not killed."""
