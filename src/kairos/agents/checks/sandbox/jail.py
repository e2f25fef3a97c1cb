"""The walls around code that is not trusted. Standard library alone: the process that builds them imports no more.

On Linux, where the kernel lets us (as root, or anyone where unprivileged user namespaces are allowed): namespaces of
its own for processes, mounts, network, IPC and host name; a root folder that holds nothing but Python and the system's
libraries, read-only, and an empty work folder in memory that vanishes with it; no network but a dead loopback. Where
it does not let us (a container without CAP_SYS_ADMIN and with the usual seccomp filter, macOS), these stand alone:
the limits, an empty environment, a work folder that is removed afterwards, a user of its own if we are root. Then the
code can read what any user of the machine can read, and use the network. `Walls` says which it is.
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

NOBODY = 65534
FIRST_STRANGER = 1_900_000_000
"""Users that no machine gives out (above systemd's ranges for containers, below 2^31): as root, each box runs as
another one. `nobody` would be shared: with the boxes beside it, whose processes would count against its limit, and with
services that run as nobody, such as the embedded database, whose files and processes would then be its own."""
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NETWORK = (
    *(0x00020000, 0x04000000, 0x08000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
RDONLY, NOSUID, NODEV, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
KEPT_FLAGS = {os.ST_NOSUID: NOSUID, 4: NODEV, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
"""Flags of a mounted file system, and how `mount` wants them. A user namespace may not drop any of them."""
SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SUBREAPER, SET_NO_NEW_PRIVILEGES = 1, 4, 36, 38
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/nix/store")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process of the code may use. Memory is address space; Python itself takes about 30 MB of it."""

    cpu_s: int
    memory_bytes: int
    file_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Walls:
    """Which walls stand."""

    own_processes: bool
    """A namespace of its own for processes: when its first one ends, all of them do."""
    own_root: bool
    own_network: bool
    user: int
    """Who the code runs as, if we are root."""


def build(folder: str) -> Walls:
    """Leave the machine's namespaces, as far as the kernel lets us. Children made from now on live in the new ones."""
    _oom_first()
    prctl(SET_SUBREAPER, 1)
    isolated = _unshare(NEW_MOUNTS | NEW_PIDS | NEW_NETWORK | NEW_IPC | NEW_UTS)
    own_network = isolated or _unshare(NEW_NETWORK)
    user = _stranger()
    own_root = isolated and _new_root(folder)
    if not own_root:
        os.chdir(folder)
        if os.geteuid() == 0:
            os.chown(folder, user, user)
    return Walls(isolated, own_root, own_network, user)


def die_with_parent() -> None:
    """Be killed when the parent dies, however it dies. Forgotten by the kernel on a change of user: call it after."""
    prctl(SET_DEATH_SIGNAL, signal.SIGKILL)


def undumpable() -> None:
    """Closed to ptrace and /proc for processes of the same user."""
    prctl(SET_DUMPABLE, 0)


def drop(limits: Limits, user: int) -> None:
    """Give up every privilege for good, become the user if we are root, and take the limits."""
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_AS, limits.memory_bytes),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS knows some of them by name only
            resource.setrlimit(kind, (most, most))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _no_capabilities()
    prctl(SET_NO_NEW_PRIVILEGES, 1)
    die_with_parent()


def prctl(option: int, value: int) -> None:
    """Linux's process control; nothing elsewhere."""
    if sys.platform == "linux":
        LIBC.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3)


LIBC = ctypes.CDLL(None, use_errno=True)


def _oom_first() -> None:
    """If memory runs out, the kernel ends the tests and not the database."""
    with contextlib.suppress(OSError):
        _write("/proc/self/oom_score_adj", "1000")


def _stranger() -> int:
    """A user that only this box runs as: our process id is nobody else's. Where a container maps few users, nobody."""
    with contextlib.suppress(OSError), open("/proc/self/uid_map") as file:
        user = FIRST_STRANGER + OWN_PROCESS
        for first, _, count in (map(int, line.split()) for line in file):
            if first <= user < first + count:
                return user
    return NOBODY


OWN_PROCESS = os.getpid()
"""Read before any namespace is left."""


def _unshare(flags: int) -> bool:
    """As root directly; as anyone else within a new user namespace, in which we are nobody but may mount."""
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


def _new_root(folder: str) -> bool:
    """A root in memory: Python and the libraries read-only, /work to write in. False where the kernel refuses."""
    try:
        _mount("none", "/", None, RECURSIVE | PRIVATE)
        _mount("tmpfs", folder, "tmpfs", NOSUID | NODEV, "size=64m,mode=0755")
        for source in _needed():
            _bind(source, folder)
        for place in ("/work", "/tmp", "/dev/shm"):
            os.makedirs(folder + place, exist_ok=True)
            os.chmod(folder + place, 0o1777)  # noqa: S103 - a folder for everyone in a root that nobody else sees
        os.chroot(folder)
        os.chdir("/work")
    except OSError:
        return False
    return True


def _needed() -> Iterator[str]:
    """The outermost places that hold Python, the libraries and the harmless devices, links resolved."""
    prefixes = {sys.base_prefix, sys.base_exec_prefix, os.path.dirname(os.path.realpath(os.__file__))}
    places = sorted({os.path.realpath(place) for place in (*prefixes, *LIBRARIES, *DEVICES) if os.path.exists(place)})
    for place in places:
        if not any(place.startswith(f"{other}/") for other in places):
            yield place
    yield from (link for link in (*LIBRARIES, *prefixes) if os.path.islink(link))


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


def _no_capabilities() -> None:
    """Clear all sets: who unshared a user namespace holds every capability in it. (capset, version 3 of its header.)"""
    if sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        LIBC.capset(header, (ctypes.c_uint32 * 6)())


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
