"""The process that parses untrusted code and schemas. It waits with all modules imported and forks for each request.

Each message on standard input carries a socket. The forked process drops its privileges, sets its limits, reads one
request from the socket, writes one reply and ends. No state is kept between requests.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from kairos.agents.checks import json_schema, python_checks, task_tests
from kairos.agents.checks.confined import CPU_SECONDS, MEMORY_BYTES, REQUEST_BYTES, WALL_SECONDS
from kairos.agents.checks.sandbox import jail
from kairos.errors import InvalidInput

WORK: dict[str, Callable[..., Any]] = {
    "schema": json_schema.validate_schema,
    "answer": json_schema.schema_result,
    "tests": task_tests.validate_tests,
    "plan": task_tests.tests_as_dict,
    "code": python_checks.code_results,
    "review": python_checks.review_findings,
}


def main() -> None:
    """Fork for each received socket, until standard input ends."""
    sys.setrecursionlimit(1000)
    gc.freeze()  # a collection in a fork would write to the pages of all imported objects, and so copy them
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            if os.fork() == 0:
                _copy(descriptor)
            os.close(descriptor)


def _copy(descriptor: int) -> NoReturn:
    try:
        _confine(descriptor)
        link = socket.socket(fileno=descriptor)
        link.sendall(os.getpid().to_bytes(8, "big"))
        reply = _reply(_read_request(link))
        link.sendall(json.dumps(reply).encode())
    finally:
        os._exit(0)


def _confine(descriptor: int) -> None:
    """Close everything but the socket, drop privileges, and set limits and a timer that ends the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS + 1)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    os.closerange(0, descriptor)
    os.closerange(descriptor + 1, 1 << 16)
    user = jail.sandbox_user()
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # containers can forbid it
            os.setgroups([])
            os.setgid(user)  # as root, both change the real, effective and saved id; macOS has no setresuid
            os.setuid(user)
    jail.drop_privileges(jail.Limits(CPU_SECONDS, MEMORY_BYTES, 0, 1, CPU_SECONDS, 0), user, watched=False)


def _read_request(link: socket.socket) -> list[Any]:
    length = int.from_bytes(link.recv(8, socket.MSG_WAITALL), "big")
    return json.loads(link.recv(min(length, REQUEST_BYTES), socket.MSG_WAITALL))


def _reply(request: list[Any]) -> dict[str, Any]:
    work, values = request
    try:
        return {"result": WORK[work](**values)}
    except InvalidInput as refused:
        return {"result": {"refused": {name: str(value) for name, value in refused.values.items()}}}
    except (RecursionError, MemoryError) as fault:
        return {"failed": "takes too much memory" if isinstance(fault, MemoryError) else "is nested too deeply"}
    except Exception as fault:
        return {"failed": f"cannot be read ({type(fault).__name__}: {str(fault)[:200]})"}
