"""The daemon's side of a plugin process: starts it, exchanges messages, logs its output, and ends its process group."""

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

from kairos.agents.checks.sandbox.launcher import kill_process_tree
from kairos.background_tasks import end
from kairos.embedded.process import INHERITED
from kairos.plugins.protocol import HEAD, MAX_FRAME, frame
from kairos.plugins.sources import PluginSource

Value = TypeVar("Value")

READ_BYTES = 1 << 16
MAX_LINE = 2_000
MAX_LINES = 1_000
"""Lines of one process in the daemon's log; further output is dropped."""
LAST_LINES = 40
LAST_OUTPUT_S = 1.0
"""Time to wait for remaining output of an ended process: a descendant may keep its pipes open."""


class ProtocolError(Exception):
    """A message on the channel does not follow the protocol."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """Resource limits of one plugin process."""

    memory_mb: int
    """Writable memory; address space is limited to several times that (`child_ipc.SPACE_FACTOR`)."""
    cpu_s: float


class ChildProcess:
    """A running plugin process."""

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
        """The last lines written to standard output or error."""
        return "\n".join(self._last)

    async def send(self, value: Any) -> None:
        """Send a message. Raises `ValueError` if it is not serializable. An ended process is detected by `receive`."""
        self._writer.write(frame(value))
        with suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> Any:
        """The next message; None after the channel was closed or the process has ended. Raises `ProtocolError`."""
        reading = asyncio.create_task(self._frame())
        try:
            await asyncio.wait([reading, self._ended], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():  # it ended, but its last message may not have arrived yet
                await asyncio.wait([reading], timeout=LAST_OUTPUT_S)
            return reading.result() if reading.done() else None
        finally:
            await end(reading)

    async def while_alive(self, work: Coroutine[Any, Any, Value]) -> Value | None:
        """Run the work while the process is alive. Returns None, and cancels the work, if the process ends first."""
        working = asyncio.create_task(work)
        try:
            await asyncio.wait([working, self._ended], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            await end(working)

    async def exit_status(self) -> int | None:
        """The exit status, or minus the signal's number; None if the process closed its channel but still runs."""
        await asyncio.wait([self._ended], timeout=LAST_OUTPUT_S)
        return self._process.returncode

    async def finish(self) -> None:
        """End the process and its descendants, and read the rest of its output."""
        await kill_process_tree(self._process)
        self._writer.close()
        await asyncio.wait(self._listening, timeout=LAST_OUTPUT_S)
        await end(self._ended, *self._listening)

    async def _frame(self) -> Any:
        try:
            (size,) = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            if size > MAX_FRAME:
                raise ProtocolError("it wrote to the channel of the daemon")
            message = json.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except ValueError:
            raise ProtocolError("it wrote to the channel of the daemon") from None
        if not isinstance(message, dict):
            raise ProtocolError("it wrote to the channel of the daemon")
        return message

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        begun = b""
        while data := await stream.read(READ_BYTES):
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                self._log_line(line)
            if len(begun) > MAX_LINE:
                self._log_line(begun)
                begun = b""
        if begun:
            self._log_line(begun)

    def _log_line(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode(errors="replace").rstrip()
        self._last.append(text)
        self._lines += 1
        if self._lines <= MAX_LINES:
            self._log.info("%s", text)
        elif self._lines == MAX_LINES + 1:
            self._log.warning("it wrote more than %d lines; further output is dropped", MAX_LINES)


@asynccontextmanager
async def child_process(
    module: str, source: PluginSource, limits: ChildLimits, log: logging.Logger, first: Mapping[str, Any]
) -> AsyncIterator[ChildProcess]:
    """Run `python -m kairos.plugins.<module>`, send it the message `first`, and end it at the end of the block.

    Only path variables of the daemon's environment are passed on, because others may contain keys.
    """
    parent_end, child_end = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-X", "utf8", "-m", f"kairos.plugins.{module}", str(child_end.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(child_end.fileno(),),
            start_new_session=True,
            env={
                "LANG": "C.UTF-8",
                "TZ": "UTC",
                **{name: os.environ[name] for name in INHERITED if name in os.environ},
            },
            cwd="/",
        )
    except BaseException:
        parent_end.close()
        raise
    finally:
        child_end.close()
    try:
        reader, writer = await asyncio.open_unix_connection(sock=parent_end)
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
        await _shielded(child.finish())


async def _shielded(work: Coroutine[Any, Any, None]) -> None:
    """Run a clean-up to its end even if cancelled; it is bounded in time."""
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
    """The exit status as text."""
    if status is None:
        return "it closed its channel to the daemon"
    if status >= 0:
        return f"it exited with status {status}"
    return f"it was ended by {signal.Signals(-status).name}"
