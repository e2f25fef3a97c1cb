"""Reads an answer from its connection: a stream of events, or one JSON object if the server does not stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from kairos.http import HttpCut, HttpResponse
from kairos.llm.answers.answer import AnswerBuilder, AnswerTooLong, InvalidAnswer
from kairos.llm.answers.event_stream import BOM, EventStream

OnDelta = Callable[[str], Awaitable[None]]
OnRestart = Callable[[], None]


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Time and size limits for a model's answer."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    """From the start of the call, including loading the model and reading the prompt."""
    idle_s: float = 30.0
    """Between two chunks of a stream."""
    usage_s: float = 5.0
    """After the finish reason, while waiting for token counts."""
    answer_bytes: int = 4 * 1024 * 1024


class AnswerReader:
    """Reads one answer and passes its text on while it streams."""

    def __init__(
        self,
        answer: AnswerBuilder,
        limits: CallLimits,
        on_delta: OnDelta | None,
        on_restart: OnRestart | None,
        *,
        lines: bool = False,
    ) -> None:
        """`lines`: the stream consists of lines of JSON instead of server-sent events."""
        self.answer = answer
        self._lines = lines
        self._limits = limits
        self._on_delta = on_delta
        self._on_restart = on_restart

    async def read(self, response: HttpResponse) -> None:
        """Read the whole answer. Raises an `AnswerFault` or an `HttpError` unless it ended properly."""
        try:
            await self._read(response)
        except HttpCut as error:
            if bad := self.answer.reported_fault():
                raise bad from error
            raise
        self.answer.end()
        if self.answer.done:
            await response.drain()

    async def end_at_last_event(self) -> None:
        """Finish an answer whose stream fell silent after a normal end."""
        await self._deliver(self.answer.end_at_last_event())

    async def _read(self, response: HttpResponse) -> None:
        """Detect the format from the content, because such servers may send a wrong Content-Type."""
        beginning = b""
        while _is_undecided(beginning) and (chunk := await response.read(begun=False)):
            beginning = (beginning + chunk).removeprefix(BOM).lstrip()
        if beginning.startswith((b"{", b"[")) and not self._lines:
            await self._read_object(response, beginning)
        else:
            await self._read_events(response, beginning)

    async def _read_object(self, response: HttpResponse, body: bytes) -> None:
        pieces, size = [], 0
        while body:
            pieces.append(body)
            size += len(body)
            if size > self._limits.answer_bytes:
                raise AnswerTooLong(self._limits.answer_bytes)
            body = await response.read()
        await self._deliver(self.answer.feed_whole(b"".join(pieces)))

    async def _read_events(self, response: HttpResponse, chunk: bytes) -> None:
        events, answer = EventStream(self._limits.answer_bytes), self.answer
        beginning = chunk[:1024]
        while chunk and not answer.done:
            try:
                complete = events.feed(chunk)
            except ValueError as error:
                raise AnswerTooLong(self._limits.answer_bytes) from error
            await self._deliver(answer.feed(complete))
            if answer.done:
                break
            chunk = await self._next(response)
        if not answer.done:
            with suppress(InvalidAnswer):  # the stream was cut within an event
                await self._deliver(answer.feed(events.finish()))
        await self._deliver(answer.finish(beginning, framed=response.framed))

    async def _next(self, response: HttpResponse) -> bytes:
        """Read the next bytes. After a normal end only token counts and [DONE] can follow, so the timeout is short."""
        idle_s = self._limits.usage_s if self.answer.ends_well() else self._limits.idle_s
        return await response.read(begun=self.answer.first_token_s is not None, idle_s=idle_s)

    async def _deliver(self, text: str) -> None:
        if self.answer.retracted() and self._on_restart:
            self._on_restart()
        if text and self._on_delta:
            await self._on_delta(text)


def _is_undecided(beginning: bytes) -> bool:
    """Whether the first bytes are empty or may be the start of a byte order mark."""
    return BOM.startswith(beginning)
