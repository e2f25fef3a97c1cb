"""Common parts of both plugin processes: the channel to the daemon, resource limits, and the format of errors.

Imports the standard library only. The channel is a socket, so that standard output and error are free for the plugin.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kairos.agents.checks.sandbox.jail import die_with_parent
from kairos.plugins.protocol import HEAD, frame
from kairos.plugins.sources import Origin, PluginSource

PLUGINS_FOLDER = str(Path(__file__).parent)
SPACE_FACTOR = 4
"""Address space per byte of memory: threads and libraries map much memory that they never write (numpy with OpenBLAS on
many cores maps gigabytes). Since Linux 4.7 RLIMIT_DATA covers private writable memory; the limit on address space
covers the rest, such as shared memory."""
RESERVE_BYTES = 64 << 20
"""Extra memory above the limit, to report that the limit was reached."""
MAX_TRACE = 20_000


class Channel:
    """The child's end of the socket. Calls from several threads are serialized."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()

    def read(self) -> Any:
        """Read the next frame. Exits the process if the daemon is gone."""
        (size,) = HEAD.unpack(self._exactly(HEAD.size))
        return json.loads(self._exactly(size))

    def send(self, value: Mapping[str, Any]) -> None:
        """Send a frame. Raises `ValueError` if the value is not valid JSON or too large."""
        with self._lock:
            self._socket.sendall(frame(value))

    def call(self, value: Mapping[str, Any]) -> Any:
        """Send a frame and wait for the reply."""
        with self._lock:
            self._socket.sendall(frame(value))
            return self.read()

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._socket.recv(min(size, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def begin() -> tuple[Channel, dict[str, Any]]:
    """Open the channel, read the daemon's request and apply its limits."""
    line = Channel(int(sys.argv[1]))
    request = line.read()
    die_with_parent()
    if os.getppid() != request["parent"]:
        os._exit(0)
    memory = request["memory_bytes"]
    space = memory * SPACE_FACTOR
    limits = (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_DATA, memory, memory + RESERVE_BYTES),
        (resource.RLIMIT_AS, space, space + RESERVE_BYTES),
        (resource.RLIMIT_CPU, request["cpu_s"], request["cpu_s"] + 1),
    )
    for kind, soft, hard in limits:
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set, or the system does not support this one
            resource.setrlimit(kind, (soft, hard))
    return line, request


def more_memory() -> None:
    """Raise the limits to their hard values, to report that memory ran out."""
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        with contextlib.suppress(ValueError, OSError):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (hard, hard))


def source_of(request: Mapping[str, Any]) -> PluginSource:
    return PluginSource(Origin(request["origin"]), request["path"], request["label"])


def error_line(error: BaseException) -> str:
    """The error as one line, such as `ValueError: bad`."""
    return " ".join("".join(traceback.format_exception_only(error)[-1:]).split())


def trace_of(error: BaseException) -> str:
    """The traceback as text, from the first frame of the plugin's code. Clears the frames to free their objects."""
    text = "".join(traceback.format_exception(type(error), error, _plugin_traceback(error.__traceback__), chain=True))
    for frames in _chain(error):
        traceback.clear_frames(frames.__traceback__)
    return text if len(text) <= MAX_TRACE else f"{text[: MAX_TRACE // 2]}\n…\n{text[-MAX_TRACE // 2 :]}"


def _plugin_traceback(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and _is_kairos_frame(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_kairos_frame(file: str) -> bool:
    return file.startswith((PLUGINS_FOLDER, "<frozen importlib")) or file.endswith("importlib/__init__.py")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
