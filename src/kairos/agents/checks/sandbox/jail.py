"""Isolation of untrusted code. Uses only the standard library, as the process that applies it imports nothing else.

Two methods give full isolation, both with the system call filter (`seccomp`):

- Namespaces, if the kernel allows them (for root, or with unprivileged user namespaces): separate process, mount,
  network, IPC and UTS namespaces; a root file system that contains only Python and the system's libraries and programs,
  read-only; an empty work folder in memory, which vanishes with it; no network except an inactive loopback interface.
- Landlock (`landlock`), which needs no privilege and therefore works in containers: the same files to read, a work
  folder that is removed afterwards, no TCP, no signals and no abstract sockets to processes outside. As root, the whole
  sandbox switches to a user of its own.

If neither is available, or the architecture has no filter, `Isolation.full` is false and the code is not run, unless
the operator allows it (`guardian.allow_weak_isolation`). Then the code runs with all isolation that is available.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from kairos.agents.checks.sandbox import landlock, seccomp, semaphores
from kairos.agents.checks.sandbox.process_tree import ProcessTree, ResourceMonitor, TotalLimits, has_swap

NOBODY = 65534
FIRST_SANDBOX_USER = 1_900_000_000
"""First of the user ids for sandboxes, above systemd's ranges for containers and below 2^31. As root, each sandbox runs
as a different user. `nobody` would be shared with other sandboxes, whose processes would count against the limit, and
with services such as the embedded database, whose files and processes would be accessible."""
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NETWORK = (
    *(0x00020000, 0x04000000, 0x08000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
RDONLY, NOSUID, NODEV, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
KEPT_FLAGS = {os.ST_NOSUID: NOSUID, 4: NODEV, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
"""Flags of a mounted file system -> flags of `mount`. A user namespace may not remove any of them."""
SET_PDEATHSIG, SET_DUMPABLE, SET_SUBREAPER, SET_NO_NEW_PRIVILEGES = 1, 4, 36, 38
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/nix/store")
PROGRAMS = ("/bin", "/usr/bin", "/etc/ld.so.cache")
PARTS_OF_PYTHON = ("bin", "lib", "lib64")
"""Below the prefix, which may be a home folder with other content."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per process, and for all processes together."""

    cpu_s: int
    memory_bytes: int
    """Writable memory, per process and in total. Python itself takes about 30 MB."""
    file_bytes: int
    processes: int
    """Processes and threads in total."""
    cpu_of_all_s: int
    disk_bytes: int
    """All files in total."""


class IsolationMethod(StrEnum):
    """How code is isolated."""

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Isolation:
    """The isolation in effect."""

    own_processes: bool
    """Whether there is a PID namespace: all processes end with the first one."""
    own_root: bool
    own_network: bool
    user: int
    """User id for the code, if this process is still root."""
    work: str = "/work"
    method: IsolationMethod = IsolationMethod.NONE
    unavailable_reason: str = ""
    """Why `method` is none."""
    own_user: bool = False
    """Whether no other process runs as this user."""
    other_tasks: int = 0
    """Processes and threads outside the sandbox that count against its limit."""

    @property
    def full(self) -> bool:
        return self.method is not IsolationMethod.NONE


def build(folder: str) -> Isolation:
    """Enter new namespaces, as far as the kernel allows. Later children run in them."""
    global _isolation, _proc
    _prefer_oom_kill()
    _proc = _open_proc()
    prctl(SET_SUBREAPER, 1)
    tasks = _tasks_of_user()  # before NEW_PID: a PID namespace ends with its first process
    isolated = _unshare(NEW_MOUNTS | NEW_PID | NEW_NETWORK | NEW_IPC | NEW_UTS)
    refusal = "" if isolated else os.strerror(ctypes.get_errno())
    own_network = isolated or _unshare(NEW_NETWORK)
    user = sandbox_user()
    if isolated and _enter_new_root(folder):
        reason = _missing_requirement()
        method = IsolationMethod.NONE if reason else IsolationMethod.NAMESPACES
        _isolation = Isolation(isolated, True, own_network, user, "/work", method, reason, own_user=True)
        return _isolation
    method, reason = _landlock_method(refusal or "no mounts")
    work = f"{folder}/work"
    os.makedirs(work, 0o700, exist_ok=True)
    own_user = os.geteuid() == 0 and _become_sandbox_user(folder, work, user, method)
    os.chdir(work)
    others = WARDEN_TASKS if own_user else tasks + OTHER_TASKS_ALLOWANCE
    _isolation = Isolation(isolated, False, own_network, user, work, method, reason, own_user, others)
    return _isolation


_isolation: Isolation | None = None
"""Set by `build`, completed by `drop_privileges`."""
_proc: int | None = None
"""The host's `/proc`, opened while it is visible, for the supervising process only."""
NO_FILTER = "this system or architecture has no system call filter (seccomp)"
WARDEN_TASKS = 2
"""The two processes of the warden."""
OTHER_TASKS_ALLOWANCE = 128
"""Threads that other processes of this user may start during the tests. `process_tree` counts exactly."""


def _open_proc() -> int | None:
    try:
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.stat(f"self/task/{os.getpid()}/children", dir_fd=proc)  # (CONFIG_PROC_CHILDREN)
    except OSError:
        return None
    return proc


def _landlock_method(refusal: str) -> tuple[IsolationMethod, str]:
    if reason := _missing_requirement():
        return IsolationMethod.NONE, reason
    version = landlock.version()
    if version < landlock.FULL:
        have = f"the kernel has Landlock version {version}" if version else "the kernel has no Landlock"
        needs = f"version {landlock.FULL} (Linux 6.12) is needed"
        return IsolationMethod.NONE, f"namespaces are not permitted ({refusal}), and {have}; {needs}"
    return IsolationMethod.LANDLOCK, ""


def _missing_requirement() -> str:
    """Return a requirement of both methods that is missing, or an empty string."""
    if not seccomp.supported():
        return NO_FILTER
    return "" if _proc is not None else "the kernel does not show the children of a process in /proc"


def _become_sandbox_user(folder: str, work: str, user: int, method: IsolationMethod) -> bool:
    """Switch irrevocably from root to the sandbox user. Returns False if that is not permitted, as in some containers.

    If Python is installed in root's home, the capability to read all files is kept; Landlock restricts it to Python's
    files.
    """
    if sys.platform != "linux":
        return False
    try:
        os.chown(folder, user, user)
        os.chown(work, user, user)
        os.setgroups([])
        os.setresgid(user, user, user)
        prctl(KEEP_CAPABILITIES, 1)
        os.setresuid(user, user, user)
    except OSError:
        return False
    prctl(KEEP_CAPABILITIES, 0)
    _keep_capabilities(_needed_capability(method))
    prctl(SET_DUMPABLE, 1)
    return True


def _needed_capability(method: IsolationMethod) -> int:
    """Return the capability that the user needs to read Python's files, or 0."""
    return READ_SEARCH if method is IsolationMethod.LANDLOCK and not os.access(os.__file__, os.R_OK) else 0


def _tasks_of_user() -> int:
    """Return how many processes and threads count against this user's limit: the lowest limit that permits a fork.

    `/proc` does not show those of other containers, which also count.
    """
    if os.geteuid() == 0:
        return 0  # exempt
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    most = 1 << 22 if hard == resource.RLIM_INFINITY else hard
    low, high = 0, min(1 << 16, most)
    try:
        while low < high:
            middle = (low + high) // 2
            resource.setrlimit(resource.RLIMIT_NPROC, (middle, hard))
            low, high = (low, middle) if _can_fork() else (middle + 1, high)
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    return low


def _can_fork() -> bool:
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def resource_monitor(first: int, limits: Limits) -> ResourceMonitor | None:
    """Return a monitor for the descendants of the first sandboxed process, or None if `/proc` does not list them."""
    if _proc is None or _isolation is None:
        return None
    together = TotalLimits(limits.memory_bytes, limits.cpu_of_all_s, limits.processes, limits.disk_bytes)
    return ResourceMonitor(ProcessTree(first, _proc), together, _isolation.work, _isolation.own_root, _swaps)


def enter_init_process() -> None:
    """Set up the first sandboxed process: it adopts orphans and cannot be inspected."""
    global _proc
    if _proc is not None:
        os.close(_proc)
        _proc = None
    prctl(SET_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # not delivered to the first process of a PID namespace from within
    die_with_parent()
    undumpable()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. Call it after a change of user, which resets it."""
    prctl(SET_PDEATHSIG, signal.SIGKILL)


def undumpable() -> None:
    """Deny ptrace and /proc access by processes of the same user."""
    prctl(SET_DUMPABLE, 0)


def drop_privileges(limits: Limits, user: int, *, watched: bool = True) -> None:
    """Irrevocably drop all privileges, switch to `user` if root, and apply the limits.

    `watched`: whether processes of the same user may inspect this one, as the resource monitor must.
    Raises `OSError` if isolation reported by `build` cannot be applied; the code must not be run then.
    """
    isolation = _isolation or Isolation(False, False, False, user, work="")
    _limit(limits, isolation)
    if sys.platform == "linux" and os.geteuid() == 0 and isolation.own_root:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _keep_capabilities(_needed_capability(isolation.method))
    prctl(SET_NO_NEW_PRIVILEGES, 1)
    prctl(SET_DUMPABLE, int(watched))  # no untrusted process can inspect it
    die_with_parent()
    _confine(isolation)


def _limit(limits: Limits, isolation: Isolation) -> None:
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.processes + isolation.other_tasks),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_AS, limits.memory_bytes * SPACE_FACTOR),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS supports only some
            resource.setrlimit(kind, (most, most))
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        mine = sorted(os.sched_getaffinity(0))
        first = OWN_PROCESS % len(mine)
        os.sched_setaffinity(0, (mine[first:] + mine[:first])[:CPUS])


SPACE_FACTOR = 4
"""Address space per byte of memory, as threads reserve space that they never write."""
CPUS = 8
"""Maximum processors, as pools start one worker per processor and `Limits.processes` is fixed."""


def _confine(isolation: Isolation) -> None:
    context = seccomp.FilterContext(isolation.own_root, isolation.own_user)
    if isolation.own_root:
        if landlock.version() >= landlock.SCOPES_SINCE:
            landlock.restrict_signals()
    elif isolation.work and landlock.version():
        landlock.restrict(landlock.Rules(tuple(_required_paths()), (isolation.work,), ("/dev/null",)))
        semaphores.install(isolation.work)
    if seccomp.supported():
        seccomp.restrict(context)


def can_read_python() -> bool:
    """Whether the current user can read Python's library."""
    try:
        with open(os.__file__):
            return True
    except OSError:
        return False


def prctl(option: int, value: int) -> None:
    """Call Linux's prctl; a no-op on other systems."""
    if sys.platform == "linux":
        LIBC.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3)


LIBC = ctypes.CDLL(None, use_errno=True)


def _prefer_oom_kill() -> None:
    """Make the kernel's out-of-memory killer prefer this process."""
    with contextlib.suppress(OSError):
        _write("/proc/self/oom_score_adj", "1000")


def sandbox_user() -> int:
    """Return a user id for this sandbox only, derived from the process id; `nobody` if the container maps few users."""
    with contextlib.suppress(OSError), open("/proc/self/uid_map") as file:
        user = FIRST_SANDBOX_USER + OWN_PROCESS
        for first, _, count in (map(int, line.split()) for line in file):
            if first <= user < first + count:
                return user
    return NOBODY


_swaps = has_swap()
OWN_PROCESS = os.getpid()
"""The process id outside the new PID namespace."""


def _unshare(flags: int) -> bool:
    """Enter new namespaces: directly as root, else inside a new user namespace as `nobody`."""
    if sys.platform != "linux":
        return False
    if os.geteuid() == 0:
        return LIBC.unshare(flags) == 0
    user, group = os.geteuid(), os.getegid()
    if LIBC.unshare(flags | NEW_USER) != 0:
        return False
    with contextlib.suppress(OSError):
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{NOBODY} {user} 1")
        _write("/proc/self/gid_map", f"{NOBODY} {group} 1")
    return True


def _enter_new_root(folder: str) -> bool:
    """Change to a root file system in memory: Python and libraries read-only, /work writable. False if refused."""
    try:
        _mount("none", "/", None, RECURSIVE | PRIVATE)
        _mount("tmpfs", folder, "tmpfs", NOSUID | NODEV, "size=64m,mode=0755")
        for source in _required_paths():
            _bind(source, folder)
        for place in ("/work", "/tmp", "/dev/shm"):
            os.makedirs(folder + place, exist_ok=True)
            os.chmod(folder + place, 0o1777)  # noqa: S103 - in a root that only this sandbox sees
        os.chroot(folder)
        os.chdir("/work")
    except OSError:
        return False
    return True


def _required_paths() -> Iterator[str]:
    """Yield the top-level paths of Python, the libraries, programs and devices, with links resolved."""
    prefixes = {sys.base_prefix, sys.base_exec_prefix}
    python = {os.path.join(prefix, part) for prefix in prefixes for part in PARTS_OF_PYTHON}
    named = (*python, os.path.dirname(os.__file__), os.path.dirname(sys.executable), *LIBRARIES, *PROGRAMS, *DEVICES)
    places = sorted({os.path.realpath(place) for place in named if os.path.exists(place)})
    for place in places:
        if not any(place.startswith(f"{other}/") for other in places):
            yield place
    yield from (link for link in (*LIBRARIES, *PROGRAMS, *python, *prefixes) if os.path.islink(link))


def _bind(source: str, folder: str) -> None:
    target = folder + source
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        if not os.path.lexists(target):
            os.symlink(os.path.realpath(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        _write(target, "")
    _mount(source, target, None, BIND)
    if source not in DEVICES:
        flags = os.statvfs(target).f_flag
        kept = sum(mount for status, mount in KEPT_FLAGS.items() if flags & status)
        _mount("none", target, None, REMOUNT | BIND | RDONLY | NOSUID | kept & ~NOSUID)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    if LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _keep_capabilities(kept: int) -> None:
    """Drop all capabilities except `kept`, which started programs inherit. A new user namespace grants all of them.

    (capset, version 3 of its header.)
    """
    if sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        LIBC.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept))
        for number in range(kept.bit_length()):
            if kept >> number & 1:
                LIBC.prctl(AMBIENT, *(ctypes.c_ulong(value) for value in (AMBIENT_RAISE, number, 0, 0)))


KEEP_CAPABILITIES, AMBIENT, AMBIENT_RAISE = 8, 47, 2
READ_SEARCH = 1 << 2
"""CAP_DAC_READ_SEARCH."""


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
