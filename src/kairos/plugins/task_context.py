"""The daemon's implementation of a plugin's context: models, storage and HTTP, within the task's project.

One object serves async plugins directly, and the calls of a sync plugin's process. After the end of the task all calls
fail.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from kairos.agents.base import AttemptContext, Draft, Emit, Task
from kairos.agents.execution import response_format
from kairos.db.engine import Database
from kairos.db.repositories.plugins import plugin_storage
from kairos.db.repositories.plugins.plugin_storage import StorageLimit
from kairos.http import HttpClient, HttpLimits, HttpStatus
from kairos.llm.calls.call_options import ModelParameters
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.routing.call_terms import RoutedAnswer
from kairos.llm.routing.llm_router import LLMRouter
from kairos.plugins.base_plugin import Answer
from kairos.plugins.plugin_errors import PluginOver, PluginReturnedNonsense, StorageFull
from kairos.plugins.plugin_reach import AddressPolicy

HTTP_S = 30.0
OVERLOADED = frozenset({408, 425, 429})
GUARDIAN = "guardian"
MAX_ANSWERS = 1_000
"""Model calls in one execution; all answers are kept until its end."""


class HttpRefused(HttpStatus):
    """{address} responded with status {http_status}: {reason}."""

    code, retryable = "http_refused", False


@dataclass(frozen=True, slots=True)
class PluginServices:
    """Services of the daemon that plugins use."""

    router: LLMRouter
    database: Database
    http: HttpClient


class Calls(Protocol):
    """Implementation of a child's calls: `TaskContext` in a daemon, else `OfflineContext`."""

    name: str
    llm: Any
    storage: Any
    http: Any
    log: logging.Logger


class Clock(Protocol):
    """Provides the time limit of a call."""

    def left_s(self, method: str, wanted: float | None = None) -> float: ...


class TaskContext:
    """The context of one execution."""

    def __init__(
        self,
        name: str,
        services: PluginServices,
        task: Task,
        attempt: AttemptContext,
        emit: Emit,
        addresses: AddressPolicy = AddressPolicy({}, {}, {}),
    ) -> None:
        self.name = name
        self.task = task
        self.attempt = attempt
        self.services = services
        self.emit = emit
        self.answers: list[tuple[RoutedAnswer, tuple[Mapping[str, Any], ...]]] = []
        self.llm = TaskModels(self)
        self.storage = TaskStorage(self)
        self.http = TaskHttp(self, services.http, addresses)
        self.log = logging.getLogger(f"kairos.plugins.{name}")
        self._until = asyncio.get_running_loop().time() + attempt.timeout_s
        self._over = False

    def left_s(self, method: str, wanted: float | None = None) -> float:
        """Seconds that a call may take: the wanted time, at most the task's. Raises `PluginOver`."""
        if self._over:
            raise PluginOver(name=self.name, method=method)
        left = max(0.0, self._until - asyncio.get_running_loop().time())
        return left if wanted is None else min(left, float(wanted))

    def draft(self, result: Mapping[str, Any]) -> Draft:
        """The draft of a result of `protocol.shape`."""
        if "text" in result:
            return Draft(text=str(result["text"]), finish_reason="stop")
        number = result.get("answer")
        if not isinstance(number, int) or not 0 < number <= len(self.answers):
            raise PluginReturnedNonsense(name=self.name, reason="execute returned an Answer that is not from this task")
        routed, messages = self.answers[number - 1]
        return Draft(
            text=routed.completion.text,
            reasoning=routed.completion.reasoning,
            finish_reason=routed.completion.finish_reason,
            decision_id=str(routed.decision_id),
            model=routed.model,
            messages=messages,
            cached=routed.cached,
            limit=routed.limit,
        )

    async def close(self, draft: Draft | None) -> None:
        """End the context: further calls fail.

        Answers that are not the draft get no verdict, so the router must not wait for one. If the plugin succeeded,
        their speed and cost are recorded.
        """
        self._over = True
        kept = draft.decision_id if draft else None
        answers = [routed for routed, _ in self.answers if not routed.cached and str(routed.decision_id) != kept]
        if draft is None:
            for routed in answers:
                self.services.router.discard(routed.decision_id)
        elif answers:
            await self._record(answers)

    async def _record(self, answers: Sequence[RoutedAnswer]) -> None:
        """Record the speed and cost of answers. Statistics count only calls that are stored."""
        router = self.services.router
        if self.attempt.journal is not None:
            await self.attempt.journal.flush()
        for routed in answers:
            await router.on_verdict(routed.decision_id, False)
            await router.record_quality(self.task.project_id, routed.decision_id, None, GUARDIAN)


class TaskModels:
    """Implements `base_plugin.Models`."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context

    async def complete(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        stream: bool = False,
    ) -> Answer:
        context = self._context
        left_s = context.left_s("llm.complete", timeout_s)
        if len(context.answers) >= MAX_ANSWERS:
            raise ValueError(f"one execution may call models at most {MAX_ANSWERS} times")
        task, attempt = context.task, context.attempt
        messages = checked_messages(prompt, system)
        watchers = attempt.stream if stream else None
        routed = await context.services.router.complete(
            replace(task.call_context(attempt), prompt=None),  # the type is that of the plugin's prompt
            ChatRequest.of(messages, _options(task, temperature, max_tokens), response_format=response_format(schema)),
            context.emit,
            on_delta=watchers.piece if watchers else None,
            on_restart=watchers.restart if watchers else None,
            timeout_s=left_s,
        )
        context.answers.append((routed, messages))
        return Answer(
            text=routed.completion.text,
            model=routed.model,
            finish_reason=routed.completion.finish_reason,
            cached=routed.cached,
            number=len(context.answers),
        )


def _options(task: Task, temperature: float | None, max_tokens: int | None) -> ModelParameters:
    """The task's parameters, with those that the plugin sets."""
    own = {
        "temperature": None if temperature is None else float(temperature),
        "max_tokens": None if max_tokens is None else int(max_tokens),
    }
    return task.spec.model_copy(update={name: value for name, value in own.items() if value is not None})


class TaskStorage:
    """Implements `base_plugin.Storage`."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context

    async def get(self, key: str, default: Any = None) -> Any:
        self._context.left_s("storage.get")
        async with self._session() as session:
            found = await plugin_storage.get(session, self._context.name, plugin_storage.checked_key(key))
        return default if found is None else orjson.loads(found)

    async def set(self, key: str, value: Any) -> None:
        self._context.left_s("storage.set")
        try:
            text = plugin_storage.checked_value(value)
            async with self._session() as session:
                await plugin_storage.put(
                    session, self._context.task.project_id, self._context.name, plugin_storage.checked_key(key), text
                )
        except StorageLimit as full:
            raise StorageFull(name=self._context.name, reason=str(full)) from None

    async def delete(self, key: str) -> bool:
        self._context.left_s("storage.delete")
        async with self._session() as session:
            return await plugin_storage.remove(session, self._context.name, plugin_storage.checked_key(key))

    async def keys(self, prefix: str = "") -> list[str]:
        self._context.left_s("storage.keys")
        async with self._session() as session:
            known = await plugin_storage.keys(session, self._context.name)
        return [key for key in known if key.startswith(prefix)]

    def _session(self):
        return self._context.services.database.project(self._context.task.project_id)


class TaskHttp:
    """Implements `base_plugin.Http`."""

    def __init__(self, clock: Clock, http: HttpClient, addresses: AddressPolicy = AddressPolicy({}, {}, {})) -> None:
        self._clock = clock
        self._client = http
        self._addresses = addresses

    async def get_json(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        limits = self._limits("http.get_json", timeout_s)
        address = _with(url, params)
        return await _final_refusals(
            self._client.get_json(
                address, headers=headers, limits=limits, public_only=self._addresses.public_only(address)
            )
        )

    async def get_text(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> str:
        limits = self._limits("http.get_text", timeout_s)

        async def body() -> bytes:
            address = _with(url, params)
            public_only = self._addresses.public_only(address)
            async with self._client.stream(
                "GET", address, headers=headers, limits=limits, public_only=public_only
            ) as answer:
                return await answer.body()

        return (await _final_refusals(body())).decode("utf-8", errors="replace")

    async def post_json(
        self, url: str, value: Any, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> Any:
        limits = self._limits("http.post_json", timeout_s)
        public_only = self._addresses.public_only(url)
        return await _final_refusals(
            self._client.post_json(url, value, headers=headers, limits=limits, public_only=public_only)
        )

    def _limits(self, method: str, timeout_s: float | None) -> HttpLimits:
        seconds = self._clock.left_s(method, HTTP_S if timeout_s is None else timeout_s)
        return HttpLimits(first_byte_s=seconds, idle_s=seconds, total_s=seconds)


async def _final_refusals(call: Any) -> Any:
    """Make client errors (4xx) final: a retry would be refused again, so the task is not queued again."""
    try:
        return await call
    except HttpStatus as error:
        if not 400 <= error.http_status < 500 or error.http_status in OVERLOADED:
            raise
        raise HttpRefused(
            address=str(error.values["address"]), http_status=error.http_status, reason=error.reason, retry_after_s=None
        ) from None


def _with(url: str, params: Mapping[str, Any] | None) -> str:
    if not params:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(dict(params), doseq=True)}"


def checked_messages(prompt: Any, system: str | None) -> tuple[Mapping[str, Any], ...]:
    """The prompt as messages. Raises `TypeError` unless it is a text, or messages with `role` and `content`."""
    if isinstance(prompt, str):
        messages: list[Mapping[str, Any]] = [{"role": "user", "content": prompt}]
    elif isinstance(prompt, Sequence) and prompt and all(map(_is_message, prompt)):
        messages = [dict(message) for message in prompt]
    else:
        raise TypeError("prompt must be a text, or a list of messages with the texts `role` and `content`")
    return tuple([{"role": "system", "content": system}, *messages] if system else messages)


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)
