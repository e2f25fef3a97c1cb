"""Work on code and schemas from requests, done in a process of its own that has limits on time, memory and output.

`compile()` of 700 bytes can take 28 s and 1 GB, and applying a schema of 3 KB seconds. None of it may run on the event
loop or in a thread of the daemon. One process is kept ready (`confined_process`), which has imported what it needs;
each piece of work runs in a copy of it that ends afterwards, so that a plain one costs a few milliseconds and an
endless one is killed alone. Few run at once, and one of each project.
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
"""More than the processor time: on a busy machine even plain work waits for its turn."""
MEMORY_BYTES = 1 << 30
QUESTION_BYTES = 8 << 20
REPLY_BYTES = 4 << 20
SLOTS = 2
"""Pieces of work at once, whoever asks."""
WAITING = 32
"""Pieces of work of one project that may wait."""


START = "import sys; sys.path[:] = {path!r}; from kairos.agents.checks.confined_process import main; main()"
"""Python ignores its environment there, so that the libraries are found where this process found them."""


class TooMuchWork(Exception):
    """The work was ended at one of its limits, in words that follow "it"."""


class ConfinedBusy(KairosError):
    """{waiting} checks of this project's code and schemas are waiting already. Send it again in a few seconds."""

    status, code = 503, "checks_busy"
    retryable = True


class ConfinedFailed(KairosError):
    """The process that checks code and schemas could not be used: {reason}. Nothing was decided; it is tried again."""

    status, code = 500, "checks_failed"
    retryable = True


async def confined(work: str, question: Mapping[str, Any], owner: object = None) -> Any:
    """Have `confined_process` do the work of this name, and give its result. `owner` is whom it is done for.

    Raises `TooMuchWork`, `ConfinedBusy`, `ConfinedFailed`.
    """
    try:
        asked = json.dumps([work, question]).encode()
    except (RecursionError, ValueError):
        raise TooMuchWork("is nested too deeply") from None
    if len(asked) > QUESTION_BYTES:
        raise TooMuchWork(f"is longer than {QUESTION_BYTES >> 20} MiB")
    async with _turn_of(owner):
        reply = await _asked(asked)
    if "failed" in reply:
        raise TooMuchWork(str(reply["failed"]))
    return reply["result"]


async def _asked(question: bytes) -> dict[str, Any]:
    """Once more where the process was gone before its copy began: nothing was done then."""
    try:
        return await _asked_once(question)
    except _NotBegun:
        with contextlib.suppress(_NotBegun):
            return await _asked_once(question)
    raise ConfinedFailed(reason="it ended before it began")


class _NotBegun(Exception):
    """The process ended before it made a copy of itself."""


async def _asked_once(question: bytes) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            _READY.start(theirs)
        conversation = _Conversation(ours)
        try:
            async with asyncio.timeout(WALL_SECONDS):
                reply = await conversation.reply(question)
        except TimeoutError:
            raise ConfinedFailed(reason=f"it got no reply within {WALL_SECONDS:g} s") from None
        except OSError as fault:
            raise ConfinedFailed(reason=str(fault)) from fault
        finally:
            conversation.end()
    if not reply:
        raise TooMuchWork(f"takes longer than {CPU_SECONDS} s or too much memory")
    return json.loads(reply)


class _Conversation:
    """With one copy of the process: its number first, then the question to it, then its reply until it ends."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._process: int | None = None

    async def reply(self, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        head = await loop.sock_recv(self._link, 8)
        self._process = int.from_bytes(head, "big") if len(head) == 8 else None
        if self._process is None:
            raise _NotBegun
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await loop.sock_sendall(self._link, len(question).to_bytes(8, "big") + question)
        return await self._rest(loop)

    async def _rest(self, loop: asyncio.AbstractEventLoop) -> bytes:
        heard = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := await loop.sock_recv(self._link, 1 << 16):
                heard += part
                if len(heard) > REPLY_BYTES:
                    raise TooMuchWork("has too long a result")
        self._process = None
        return bytes(heard)

    def end(self) -> None:
        """Kill it, if it has not ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._process, signal.SIGKILL)


class _Ready:
    """The process that waits with everything imported, and copies itself for each piece of work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self, link: socket.socket) -> None:
        """Have a copy work at the other end of the link. Raises `ConfinedFailed`."""
        with self._lock:
            for _ in range(2):
                control = self._running() or self._started()
                with contextlib.suppress(OSError):
                    socket.send_fds(control, [b"."], [link.fileno()])
                    return
                self._dropped()
        raise ConfinedFailed(reason="it does not start")

    def stop(self) -> None:
        """End the process and wait for it. Work that comes later starts another one."""
        with self._lock:
            self._dropped()

    def _running(self) -> socket.socket | None:
        return self._control if self._process is not None and self._process.poll() is None else None

    def _started(self) -> socket.socket:
        self._dropped()
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

    def _dropped(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None


_READY = _Ready()
"""One for the interpreter: it belongs to no event loop and holds nothing of anybody."""


class _Turns:
    """Who may work when: few at once, one of each project, in the order in which they came."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(SLOTS)
        self.owners: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.waiting: Counter[object] = Counter()


_TURNS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def _turn_of(owner: object) -> AsyncIterator[None]:
    turns = _TURNS.setdefault(asyncio.get_running_loop(), _Turns())
    if turns.waiting[owner] >= WAITING:
        raise ConfinedBusy(waiting=WAITING)
    turns.waiting[owner] += 1
    try:
        async with turns.owners[owner], turns.slots:
            yield
    finally:
        turns.waiting[owner] -= 1
        if not turns.waiting[owner]:
            del turns.waiting[owner], turns.owners[owner]


def stop() -> None:
    """End the process that waits, before this one ends: nobody else would collect its exit status."""
    _READY.stop()
