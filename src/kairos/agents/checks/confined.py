"""Runs work on untrusted code and schemas in a separate process with limits on time, memory and output.

`compile()` of 700 bytes can take 28 s and 1 GB, and applying a schema of 3 KB can take seconds. None of it may run in
the daemon's event loop or threads. One process (`confined_process`) waits with all modules imported and forks for each
piece of work: simple work costs a few milliseconds, and work that never ends is killed on its own. Concurrency is
limited to `SLOTS`, and to one piece of work per project.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kairos.errors import KairosError

CPU_SECONDS = 2
WALL_SECONDS = 15.0
"""More than the processor time, since work is slow on a busy machine."""
MEMORY_BYTES = 1 << 30
REQUEST_BYTES = 8 << 20
REPLY_BYTES = 4 << 20
SLOTS = 2
"""Maximum concurrent pieces of work."""
WAITING = 32
"""Maximum waiting pieces of work per project."""


START = "import sys; sys.path[:] = {path!r}; from kairos.agents.checks.confined_process import main; main()"
"""The process runs isolated from its environment (`-I`), so the import path is passed on."""


class TooMuchWork(Exception):
    """The work exceeded a limit. The message continues a sentence that starts with "it"."""


class ConfinedBusy(KairosError):
    """{waiting} checks of this project's code and schemas are already waiting. Retry in a few seconds."""

    status, code = 503, "checks_busy"
    retryable = True


class ConfinedFailed(KairosError):
    """The process that checks code and schemas failed: {reason}. The check is retried."""

    status, code = 500, "checks_failed"
    retryable = True


async def confined(work: str, arguments: Mapping[str, Any], owner: object = None) -> Any:
    """Run the named work in `confined_process` and return its result. `owner` is the project.

    Raises `TooMuchWork`, `ConfinedBusy`, `ConfinedFailed`.
    """
    try:
        request = json.dumps([work, arguments]).encode()
    except (RecursionError, ValueError):
        raise TooMuchWork("is nested too deeply") from None
    if len(request) > REQUEST_BYTES:
        raise TooMuchWork(f"is longer than {REQUEST_BYTES >> 20} MiB")
    async with _slot(owner):
        reply = await _send_request(request)
    if "failed" in reply:
        raise TooMuchWork(str(reply["failed"]))
    return reply["result"]


async def _send_request(request: bytes) -> dict[str, Any]:
    """Send a request, and once more if the process ended before it forked."""
    try:
        return await _send_once(request)
    except _NotStarted:
        with contextlib.suppress(_NotStarted):
            return await _send_once(request)
    raise ConfinedFailed(reason="it ended before the work started")


class _NotStarted(Exception):
    """The process ended before it forked."""


async def _send_once(request: bytes) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            _WORKER.start(theirs)
        exchange = _Exchange(ours)
        try:
            async with asyncio.timeout(WALL_SECONDS):
                reply = await exchange.reply(request)
        except TimeoutError:
            raise ConfinedFailed(reason=f"no reply within {WALL_SECONDS:g} s") from None
        except OSError as fault:
            raise ConfinedFailed(reason=str(fault)) from fault
        finally:
            exchange.end()
    if not reply:
        raise TooMuchWork(f"takes longer than {CPU_SECONDS} s or too much memory")
    return json.loads(reply)


class _Exchange:
    """An exchange with a forked process: it sends its process id, receives the request, sends its reply and ends."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._process: int | None = None

    async def reply(self, request: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        head = await loop.sock_recv(self._link, 8)
        self._process = int.from_bytes(head, "big") if len(head) == 8 else None
        if self._process is None:
            raise _NotStarted
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await loop.sock_sendall(self._link, len(request).to_bytes(8, "big") + request)
        return await self._rest(loop)

    async def _rest(self, loop: asyncio.AbstractEventLoop) -> bytes:
        reply = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := await loop.sock_recv(self._link, 1 << 16):
                reply += part
                if len(reply) > REPLY_BYTES:
                    raise TooMuchWork("has too long a result")
        self._process = None
        return bytes(reply)

    def end(self) -> None:
        """Kill the process if it has not ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._process, signal.SIGKILL)


class _WorkerProcess:
    """The process that waits with all modules imported, and forks for each piece of work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self, link: socket.socket) -> None:
        """Fork a process that serves the other end of the link. Raises `ConfinedFailed`."""
        with self._lock:
            for _ in range(2):
                control = self._running() or self._started()
                with contextlib.suppress(OSError):
                    socket.send_fds(control, [b"."], [link.fileno()])
                    return
                self._discard()
        raise ConfinedFailed(reason="it does not start")

    def stop(self) -> None:
        """End the process and wait for it. Later work starts a new one."""
        with self._lock:
            self._discard()

    def _running(self) -> socket.socket | None:
        return self._control if self._process is not None and self._process.poll() is None else None

    def _started(self) -> socket.socket:
        self._discard()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-B", "-c", START.format(path=[entry for entry in sys.path if entry])],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                    env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                )
            except OSError as fault:
                ours.close()
                raise ConfinedFailed(reason=str(fault)) from fault
        self._control = ours
        return ours

    def _discard(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None


_WORKER = _WorkerProcess()
"""One per interpreter: it belongs to no event loop and keeps no state."""


class _Slots:
    """Limits concurrency: `SLOTS` in total, one per project, in order of arrival."""

    def __init__(self) -> None:
        self.semaphore = asyncio.Semaphore(SLOTS)
        self.owners: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.waiting: Counter[object] = Counter()


_SLOTS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Slots] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def _slot(owner: object) -> AsyncIterator[None]:
    slots = _SLOTS.setdefault(asyncio.get_running_loop(), _Slots())
    if slots.waiting[owner] >= WAITING:
        raise ConfinedBusy(waiting=WAITING)
    slots.waiting[owner] += 1
    try:
        async with slots.owners[owner], slots.semaphore:
            yield
    finally:
        slots.waiting[owner] -= 1
        if not slots.waiting[owner]:
            del slots.waiting[owner], slots.owners[owner]


def stop() -> None:
    """End the waiting process. Call it before this process ends, to collect the exit status."""
    _WORKER.stop()
