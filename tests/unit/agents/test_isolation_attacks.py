"""Attempts to escape from the sandbox fail on each kind of host, and succeed outside of it as the same user.

An attempt that raises has failed. Attempts run as the daemon's own user where possible.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.hosts import (
    UNPRIVILEGED_USER,
    Kind,
    Run,
    RunResult,
    as_test_functions,
    command_on,
    python_on,
    run_on,
    user_on,
)

ISOLATING = [Kind.NAMESPACES, Kind.LANDLOCK, Kind.LANDLOCK_SAME_USER]
CALL = """
def call(source):
    head = "import ctypes, os\\nlibc = ctypes.CDLL(None, use_errno=True)\\n"
    tail = "\\nif done < 0: raise OSError(ctypes.get_errno(), 'refused')\\n"
    subprocess.run([sys.executable, '-c', head + source + tail], check=True, stderr=subprocess.DEVNULL)
"""
"""Native calls are made by a child process, because the test's own process may not use `ctypes`."""
READ_MEMORY = """
class Vector(ctypes.Structure):
    _fields_ = [('place', ctypes.c_void_p), ('size', ctypes.c_size_t)]
vector = Vector(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
done = libc.process_vm_readv(PID, ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)
if done < 0 and ctypes.get_errno() == 14:  # allowed, but there is no such address
    done = 0
"""

FILES = {
    "open": "open(SECRET).read()",
    "os_open": "os.read(os.open(SECRET, os.O_RDONLY), 10)",
    "list_the_folder": "os.listdir(FOLDER)",
    "symlink": "os.symlink(SECRET, 'link'); open('link').read()",
    "hard_link": "os.link(SECRET, 'hard'); open('hard').read()",
    "rename": "os.rename(SECRET, SECRET + '2'); os.rename(SECRET + '2', SECRET)",
    "folder_descriptor": "os.open('secrets.json', os.O_RDONLY, dir_fd=os.open(FOLDER, os.O_PATH))",
    "dots": "open('../' * 20 + SECRET[1:]).read()",
    "proc_root": "open('/proc/self/root' + SECRET).read()",
    "proc_root_of_the_daemon": "open(f'/proc/{PID}/root' + SECRET).read()",
    "proc_cwd_of_the_daemon": "os.listdir(f'/proc/{PID}/cwd/')",
    "environment_of_the_daemon": "open(f'/proc/{PID}/environ', 'rb').read()",
    "memory_of_the_daemon": "open(f'/proc/{PID}/maps').read()",
    "descriptors_of_the_daemon": "os.listdir(f'/proc/{PID}/fd')",
    "command_line_of_the_daemon": "open(f'/proc/{PID}/cmdline').read()",
    "environment_of_the_parent": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "program": "subprocess.run(['cat', SECRET], check=True, capture_output=True)",
    "another_python": "call(f'done = len(open({SECRET!r}).read())')",
    "write": "open(SECRET, 'a').write('')",
    "write_beside": "open(FOLDER + '/new', 'x'); os.unlink(FOLDER + '/new')",
    "make_a_folder": "os.mkdir(FOLDER + '/folder'); os.rmdir(FOLDER + '/folder')",
    "watch_the_folder": "call(f'''done = libc.inotify_add_watch(libc.inotify_init(), {FOLDER!r}.encode(), 2)''')",
    "passwords_of_the_system": "open('/etc/passwd').read()",
}
PROCESSES = {
    "signal_the_daemon": "os.kill(PID, 0)",
    "signal_the_daemon_by_descriptor": "import signal; signal.pidfd_send_signal(os.pidfd_open(PID), 0)",
    "limits_of_the_daemon": "import resource; resource.prlimit(PID, resource.RLIMIT_NOFILE)",
    "priority_of_the_daemon": "os.setpriority(os.PRIO_PROCESS, PID, 19)",
    "processors_of_the_daemon": "os.sched_setaffinity(PID, os.sched_getaffinity(0))",
    "scheduling_of_the_daemon": "os.sched_setscheduler(PID, os.SCHED_BATCH, os.sched_param(0))",
    "read_memory": "call(READ_MEMORY)",
    "ptrace": "call(f'done = libc.ptrace(0x4206, {PID}, None, None)')",
    "take_a_descriptor": "call(f'done = libc.syscall(438, os.pidfd_open({PID}), 1, 0)')",
}
NETWORK = {
    "tcp": "socket.create_connection(('127.0.0.1', PORT), 2).close()",
    "tcp_server": "socket.create_server(('127.0.0.1', 0)).close()",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', UDP))",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))",
    "unix": "s = socket.socket(socket.AF_UNIX); s.connect(UNIX)",
    "abstract": "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + ABSTRACT)",
    "datagram_to_a_name": "a, b = socket.socketpair(type=socket.SOCK_DGRAM); a.connect(DATAGRAM); a.send(b'x')",
    "datagram_sent_to_a_name": "a, b = socket.socketpair(type=socket.SOCK_DGRAM); a.sendto(b'x', DATAGRAM)",
}
KERNEL = {
    "user_namespace": "call('done = libc.unshare(0x10000000)')",
    "clone_into_a_namespace": "call('done = libc.syscall(56, 0x10000011, 0, 0, 0, 0)\\nif done == 0: os._exit(0)')",
    "io_uring": "call('p = ctypes.create_string_buffer(120)\\ndone = libc.syscall(425, 4, p)')",
    "keyring": "call('done = libc.syscall(250, 0, -3, 1)')",
    "memory_file": "os.memfd_create('x')",
    "system_v_memory": "call('done = libc.shmget(0, 4096, 0o1600)\\nlibc.shmctl(done, 0, None)')",
    "message_queue": "call('done = libc.msgget(0, 0o1600)\\nlibc.msgctl(done, 0, None)')",
    "personality": "call('done = libc.personality(0x0040000)')",
    "hide_from_the_limits": "call('done = libc.prctl(4, 0, 0, 0, 0)')",
    "userfaultfd": "call('done = libc.syscall(323, 1)')",
    "seccomp_listener": "call('done = libc.syscall(317, 2, 0, ctypes.create_string_buffer(16))')",
}
ATTEMPTS = {**FILES, **PROCESSES, **NETWORK, **KERNEL}
OFTEN_REFUSED = {"user_namespace", "tcp_server", "clone_into_a_namespace", "seccomp_listener"}
"""Attempts that this machine may also refuse to an ordinary user."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A substitute for a daemon: files, an environment, a process and ports."""

    constants: str
    secret: Path
    process: subprocess.Popen[Any]


@functools.cache
def _outside(kind: Kind) -> dict[str, RunResult]:
    """Return the result of each attempt without a sandbox, as the host's user, each in its own process."""
    with _daemon(kind) as daemon, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        source = f"{daemon.constants}\nBODIES = {list(ATTEMPTS.values())!r}\nos.chdir({folder!r})\n{RUN_EACH}"
        done = command_on(kind, [python_on(kind), "-c", source], limit_s=60)
    results = dict(zip(ATTEMPTS, done.stdout.splitlines(), strict=True))
    return {name: RunResult("none", "", [(output == "done", output)]) for name, output in results.items()}


RUN_EACH = """
for body in BODIES:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            exec(body)
        except BaseException as fault:
            print(type(fault).__name__, str(fault).replace(chr(10), ' '))
        else:
            print('done')
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


@functools.cache
def _inside(kind: Kind) -> dict[str, RunResult]:
    """Return the result of each attempt in the sandbox."""
    with _daemon(kind) as daemon:
        tests = f"{daemon.constants}\n{as_test_functions(*ATTEMPTS.values())}"
        ran, _ = run_on(kind, [Run(tests, seconds=80), Run(as_test_functions("import os\nos.kill(-1, 9)"))])
        assert daemon.process.poll() is None, "the daemon is alive"
        status = daemon.secret.stat()
        assert (daemon.secret.read_text(), status.st_mode & 0o777) == ("s3cret", 0o600), "the secret is unchanged"
        return ran.by_test(ATTEMPTS)


@contextmanager
def _daemon(kind: Kind) -> Iterator[Daemon]:
    """Create a folder with a secret, servers of every kind and a process, all owned by the host's user."""
    owner = UNPRIVILEGED_USER if user_on(kind) else os.geteuid()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daemon-")))
        secret = folder / "secrets.json"
        secret.write_text("s3cret")
        secret.chmod(0o600)
        abstract = f"kairos-test-{os.getpid()}-{time.monotonic_ns()}"
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        unix, named, datagram = (
            stack.enter_context(socket.socket(socket.AF_UNIX, style))
            for style in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
        )
        unix.bind(str(folder / "unix"))
        named.bind(f"\0{abstract}")
        datagram.bind(str(folder / "datagram"))
        unix.listen()
        named.listen()
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner, owner)
        sleeper = subprocess.Popen(["sleep", "600"], **user_on(kind))
        stack.callback(sleeper.wait)
        stack.callback(sleeper.kill)
        yield Daemon(
            textwrap.dedent(f"""
            import os, socket, subprocess, sys
            FOLDER, SECRET = {str(folder)!r}, {str(secret)!r}
            PID, PORT, UDP = {sleeper.pid}, {tcp.getsockname()[1]}, {udp.getsockname()[1]}
            UNIX, DATAGRAM, ABSTRACT = {str(folder / "unix")!r}, {str(folder / "datagram")!r}, {abstract!r}
            """)
            + f"READ_MEMORY = {READ_MEMORY!r}.replace('PID', str(PID))\n{CALL}",
            secret,
            sleeper,
        )


@pytest.mark.parametrize("kind", ISOLATING)
@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempt_succeeds_outside_and_fails_in_the_sandbox(kind: Kind, name: str):
    ran = _inside(kind)[name]
    if ran.method == "none":
        pytest.skip(f"this host does not isolate code: {ran.unavailable_reason}")
    outside = _outside(kind)[name]
    assert outside.passed or name in OFTEN_REFUSED, outside.message
    assert not ran.passed
    assert "SyntaxError" not in ran.message
    assert "NameError" not in ran.message
