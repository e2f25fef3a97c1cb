"""A child process with a line to it, from the daemon's side: started, heard, logged, and ended with all it started."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from kairos.agents.checks.sandbox.box import kill_process_tree
from kairos.background_tasks import end
from kairos.embedded.process import INHERITED
from kairos.plugins.protocol import HEAD, LARGEST_FRAME, frame
from kairos.plugins.sources import PluginSource

Value = TypeVar("Value")

READ_BYTES = 1 << 16
LONGEST_LINE = 2_000
MOST_LINES = 1_000
"""Of one process in the daemon's log; what it writes beyond them is dropped."""
LAST_LINES = 40
LAST_OUTPUT_S = 1.0
"""How long the rest of what an ended process wrote is waited for: a descendant may hold its pipes open."""


class ProtocolError(Exception):
    """What came over the line was not what a child of ours would say."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What one process of a plugin may use."""

    memory_mb: int
    """Of what it may write; address space is limited to several times that (`inner.SPACE_FACTOR`)."""
    cpu_s: float


class ChildProcess:
    """One running child."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        log: logging.Logger,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._log = log
        self._lines = 0
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._ended = asyncio.create_task(process.wait())
        streams = [stream for stream in (process.stdout, process.stderr) if stream]
        self._listening = [asyncio.create_task(self._listen(stream)) for stream in streams]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_output(self) -> str:
        """The last lines that it wrote to standard output or error."""
        return "\n".join(self._last)

    async def send(self, value: Any) -> None:
        """Raises `ValueError` for what cannot travel. A child that is gone is noticed by whoever listens to it."""
        self._writer.write(frame(value))
        with suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> Any:
        """The next frame; None once the line is closed or the process has ended. Raises `ProtocolError`."""
        reading = asyncio.create_task(self._frame())
        try:
            await asyncio.wait([reading, self._ended], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():  # it ended; what it had message before may still be under way
                await asyncio.wait([reading], timeout=LAST_OUTPUT_S)
            return reading.result() if reading.done() else None
        finally:
            await end(reading)

    async def while_alive(self, work: Coroutine[Any, Any, Value]) -> Value | None:
        """Do it as long as the process lives; None where it ended first: nobody waits for the outcome any more."""
        working = asyncio.create_task(work)
        try:
            await asyncio.wait([working, self._ended], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            await end(working)

    async def exit_status(self) -> int | None:
        """Its exit status, minus the signal's number where one ended it; None where it goes on without a word."""
        await asyncio.wait([self._ended], timeout=LAST_OUTPUT_S)
        return self._process.returncode

    async def finish(self) -> None:
        """End it and what it started, and take in the rest of what it wrote."""
        await kill_process_tree(self._process)
        self._writer.close()
        await asyncio.wait(self._listening, timeout=LAST_OUTPUT_S)
        await end(self._ended, *self._listening)

    async def _frame(self) -> Any:
        try:
            (size,) = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            if size > LARGEST_FRAME:
                raise ProtocolError("it wrote into the line to the daemon")
            message = json.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except ValueError:
            raise ProtocolError("it wrote into the line to the daemon") from None
        if not isinstance(message, dict):
            raise ProtocolError("it wrote into the line to the daemon")
        return message

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        begun = b""
        while data := await stream.read(READ_BYTES):
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                self._log_line(line)
            if len(begun) > LONGEST_LINE:
                self._log_line(begun)
                begun = b""
        if begun:
            self._log_line(begun)

    def _log_line(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode(errors="replace").rstrip()
        self._last.append(text)
        self._lines += 1
        if self._lines <= MOST_LINES:
            self._log.info("%s", text)
        elif self._lines == MOST_LINES + 1:
            self._log.warning("it writes more than %d lines; the rest is dropped", MOST_LINES)


@asynccontextmanager
async def child_process(
    module: str, source: PluginSource, limits: ChildLimits, log: logging.Logger, first: Mapping[str, Any]
) -> AsyncIterator[ChildProcess]:
    """Run `python -m kairos.plugins.<module>` with these text as its first; at the end of the block it is ended.

    Of the daemon's environment it gets the paths alone: the rest holds keys.
    """
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-X", "utf8", "-m", f"kairos.plugins.{module}", str(theirs.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env={
                "LANG": "C.UTF-8",
                "TZ": "UTC",
                **{name: os.environ[name] for name in INHERITED if name in os.environ},
            },
            cwd="/",
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    try:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        child = ChildProcess(process, reader, writer, log)
    except BaseException:
        await kill_process_tree(process)
        raise
    try:
        await child.send(
            {
                "parent": os.getpid(),
                "origin": source.origin,
                "path": source.path,
                "label": source.label,
                "memory_bytes": limits.memory_mb << 20,
                "cpu_s": math.ceil(limits.cpu_s),
                **first,
            }
        )
        yield child
    finally:
        await _surely(child.finish())


async def _surely(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, cancelled or not: it is bounded, and what it ends must not be left behind."""
    working = asyncio.create_task(work)
    cancelled = False
    while not working.done():
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            cancelled = True
    working.result()
    if cancelled:
        raise asyncio.CancelledError


def cause_of(status: int | None) -> str:
    """How a process ended, in text."""
    if status is None:
        return "it closed its line to the daemon"
    if status >= 0:
        return f"it ended the program with status {status}"
    return f"it was ended by {signal.Signals(-status).name}"
