"""A system call filter for untrusted code (seccomp, `Documentation/userspace-api/seccomp_filter.rst`).

It denies calls that tests do not need and attackers do: inspection of other processes, mounts and namespaces, kernel
modules, kernel interfaces with a history of escapes, memory outside any process, and all sockets except socket pairs.
It needs no privilege, is inherited by all children, and cannot be removed. Uses only the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from kairos.agents.checks.sandbox.system_calls import AARCH64, LAST, NUMBERS, X86_64

MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}
SET_SECCOMP, MODE_FILTER, SET_NO_NEW_PRIVILEGES = 22, 2, 38
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, AND, RETURN = 0x20, 0x54, 0x06
EQUAL, GREATER, AT_LEAST, ANY_BIT = 0x15, 0x25, 0x35, 0x45
NUMBER, MACHINE, ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`. The low half of an argument comes first (little-endian)."""
X32 = 0x40000000
NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
UNIX, STREAM, SEQPACKET = 1, 1, 5
PUSH_INPUT, CONSOLE = 0x5412, 0x541C
"""The ioctls TIOCSTI and TIOCLINUX, which inject terminal input."""
SET_DUMPABLE = 4

REFUSED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("open_tree", "move_mount", "mount_setattr", "statmount", "listmount", "open_by_handle_at", "name_to_handle_at"),
    *("fanotify_init", "fanotify_mark", "inotify_init", "inotify_init1", "inotify_add_watch"),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("add_key", "request_key", "keyctl", "seccomp"),
    *("kexec_load", "kexec_file_load", "create_module", "init_module", "finit_module", "delete_module"),
    *("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "sethostname", "setdomainname"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "syslog", "vhangup"),
    *("nfsservctl", "lookup_dcookie", "personality", "modify_ldt", "uselib", "sysfs", "ustat"),
    *("move_pages", "migrate_pages", "mbind", "set_mempolicy", "get_mempolicy", "set_mempolicy_home_node"),
    *("remap_file_pages", "ioprio_set", "sched_setscheduler", "sched_setparam", "sched_setattr"),
    # Memory not mapped by any process, which per-process limits do not count.
    *("memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop"),
    *("msgget", "msgsnd", "msgrcv", "msgctl"),
    *("mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"),
)
NO_OP = ("sync", "syncfs")
"""Succeed without effect, as these calls would make all other programs wait for the disk."""
NAMED_SOCKETS = ("connect", "bind", "listen")
OWNERSHIP = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
ATTRIBUTES = ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")


@dataclass(frozen=True, slots=True)
class FilterContext:
    """Other isolation that the filter depends on."""

    own_root: bool
    """The code has its own root and sees only its own named sockets, so these are allowed."""
    own_user: bool
    """The code runs as its own user, so it may change file modes, which Landlock does not restrict. Otherwise these
    calls succeed without effect, because `shutil.copy` makes one."""


def supported() -> bool:
    """Whether this architecture has a filter and the kernel supports seccomp."""
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        return False
    return _prctl(SET_SECCOMP, MODE_FILTER, None) == errno.EFAULT  # the kernel tried to read the missing filter


def restrict(context: FilterContext) -> None:
    """Irrevocably apply the filter to this process and its children. Raises `OSError` if the kernel refuses."""
    program = compiled(MACHINES[platform.machine()], context)
    instructions = ctypes.create_string_buffer(program, len(program))

    class FilterProgram(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    _prctl(SET_NO_NEW_PRIVILEGES, 1, None)
    fault = _prctl(
        SET_SECCOMP, MODE_FILTER, ctypes.byref(FilterProgram(len(program) // 8, ctypes.addressof(instructions)))
    )
    if fault:
        raise OSError(fault, f"seccomp: {os.strerror(fault)}")


def compiled(machine: int, context: FilterContext) -> bytes:
    """Return the filter as classic BPF, 8 bytes per instruction."""
    numbers = NUMBERS[machine]
    code = [
        *(_load(MACHINE), _jump(EQUAL, machine, 1, 0), _return(KILL)),
        *(_load(NUMBER), _jump(AT_LEAST, X32, 0, 1), _return(KILL)),
        *(_jump(GREATER, LAST, 0, 1), _refuse(errno.ENOSYS)),
    ]
    for name, verdict in _verdicts(context):
        if name in numbers:
            code += [_jump(EQUAL, numbers[name], 0, 1), verdict]
    for name, body in _by_argument(context):
        code += [_jump(EQUAL, numbers[name], 0, len(body)), *body]
    return b"".join([*code, _return(ALLOW)])


def _verdicts(context: FilterContext) -> list[tuple[str, bytes]]:
    refused = [(name, _refuse(errno.EPERM)) for name in REFUSED]
    no_op = [(name, _refuse(0)) for name in NO_OP]
    glibc_falls_back = [("clone3", _refuse(errno.ENOSYS))]  # its flags are in memory, which filters cannot read
    sockets = [] if context.own_root else [(name, _refuse(errno.EPERM)) for name in NAMED_SOCKETS]
    owned = [] if context.own_root or context.own_user else [(name, _refuse(0)) for name in OWNERSHIP]
    attributes = [] if context.own_root or context.own_user else [(name, _refuse(errno.ENOTSUP)) for name in ATTRIBUTES]
    return [*refused, *no_op, *glibc_falls_back, *sockets, *owned, *attributes]


def _by_argument(context: FilterContext) -> list[tuple[str, list[bytes]]]:
    """Return the calls that are decided by an argument. Every path through a body returns a verdict."""
    only_itself = [_load_argument(0), _jump(EQUAL, 0, 0, 1), _return(ALLOW), _refuse(errno.EPERM)]
    only_itself_again = [
        *(_load_argument(0), _jump(EQUAL, 0, 0, 3), _load_argument(1), _jump(EQUAL, 0, 0, 1)),
        *(_return(ALLOW), _refuse(errno.EPERM)),
    ]
    new_namespace = [_load_argument(0), _jump(ANY_BIT, NAMESPACES, 0, 1), _refuse(errno.EPERM), _return(ALLOW)]
    typing = [
        *(_load_argument(1), _jump(EQUAL, PUSH_INPUT, 1, 0), _jump(EQUAL, CONSOLE, 0, 1)),
        *(_refuse(errno.EPERM), _return(ALLOW)),
    ]
    # A process that is not dumpable hides its memory and open files from the resource monitor.
    hiding = [
        *(_load_argument(0), _jump(EQUAL, SET_DUMPABLE, 0, 3), _load_argument(1), _jump(EQUAL, 0, 0, 1)),
        *(_refuse(errno.EPERM), _return(ALLOW)),
    ]
    unix = [_load_argument(0), _jump(EQUAL, UNIX, 1, 0), _refuse(errno.EAFNOSUPPORT)]
    # Datagram socket pairs could connect or send to any other address.
    connected = [
        *(_load_argument(1), _and(0xF), _jump(EQUAL, STREAM, 1, 0), _jump(EQUAL, SEQPACKET, 0, 1)),
        *(_return(ALLOW), _refuse(errno.EPERM)),
    ]
    return [
        *((name, only_itself) for name in ("prlimit64", "sched_setaffinity")),
        ("setpriority", only_itself_again),
        ("clone", new_namespace),
        ("ioctl", typing),
        ("prctl", hiding),
        ("socket", [*unix, _return(ALLOW)] if context.own_root else [_refuse(errno.EAFNOSUPPORT)]),
        ("socketpair", [*unix, *([_return(ALLOW)] if context.own_root else connected)]),
    ]


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", LOAD, 0, 0, offset)


def _load_argument(position: int) -> bytes:
    return _load(ARGUMENTS + 8 * position)


def _and(mask: int) -> bytes:
    return struct.pack("<HBBI", AND, 0, 0, mask)


def _jump(kind: int, value: int, when: int, unless: int) -> bytes:
    return struct.pack("<HBBI", kind, when, unless, value)


def _return(verdict: int) -> bytes:
    return struct.pack("<HBBI", RETURN, 0, 0, verdict)


def _refuse(number: int) -> bytes:
    return _return(ERRNO | number)


def _prctl(option: int, value: int, pointer: object) -> int:
    """Call prctl. Returns the error number, or 0 on success."""
    done = _LIBC.prctl(option, ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0))
    return 0 if done == 0 else ctypes.get_errno()


_LIBC = ctypes.CDLL(None, use_errno=True)
