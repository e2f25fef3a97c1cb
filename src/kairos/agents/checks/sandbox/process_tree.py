"""Limits on all processes of the sandbox together, enforced by their parent process.

The kernel limits single processes (`jail.drop_privileges`) and users. This module sums the memory, processor time,
processes, threads and files of all processes about fifty times a second, so that children cannot exceed a limit
together. A process cannot leave the tree: orphans are adopted by the sandbox's first process, which is a subreaper
(`prctl`) or the first of its namespace. Uses only the standard library.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

INTERVAL_S = 0.02
DISK_INTERVAL = 5
"""Files are counted in every fifth round."""
MOST_FILES = 5_000
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
KILL_S = 5.0
START_S = KILL_S + 5.0
"""Maximum time for the supervising process to kill processes, even on a busy machine."""


@dataclass(frozen=True, slots=True)
class TotalLimits:
    """Limits on all processes of the sandbox together."""

    memory_bytes: int
    cpu_s: float
    processes: int
    """Including threads."""
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process, from `/proc/PID/stat`."""

    pid: int
    began: int
    """In clock ticks since boot. Identifies a process uniquely together with the pid."""
    ticks: int
    """Its own processor time."""
    ticks_of_children: int
    threads: int
    resident_bytes: int


class ProcessTree:
    """The descendants of a process."""

    def __init__(self, top: int, proc: int) -> None:
        """`proc` is a descriptor of the host's `/proc`, which the sandbox's root does not have."""
        self.top = top
        self._proc = proc

    def processes(self) -> Iterator[Process]:
        """Yield all live descendants."""
        pending, seen = self._children(self.top), set[int]()
        while pending:
            pid = pending.pop()
            if pid in seen:
                continue
            seen.add(pid)
            pending += self._children(pid)
            process = self.process(pid)
            if process:
                yield process

    def process(self, pid: int) -> Process | None:
        """Return a process, or None if it has ended."""
        try:
            fields = self.read(pid, "stat").rpartition(b")")[2].split()
        except OSError:
            return None
        if fields[0] in (b"Z", b"X"):
            return None
        user, system, users, systems, threads, began, pages = (int(fields[at]) for at in (11, 12, 13, 14, 17, 19, 21))
        return Process(pid, began, user + system, users + systems, threads, pages * PAGE)

    def kill(self) -> None:
        """Kill all descendants, including new ones. They are stopped first, so that none can fork meanwhile."""
        end = time.monotonic() + KILL_S
        while time.monotonic() < end:
            found = [process.pid for process in self.processes()]
            if not found:
                return
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in found:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)

    def read(self, pid: int, name: str) -> bytes:
        """Read a file of `/proc/PID`. Raises `OSError`."""
        descriptor = os.open(f"{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        try:
            parts = []
            while part := os.read(descriptor, 1 << 16):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def folder(self, pid: int, name: str) -> Iterator[int]:
        """Open a folder of `/proc/PID`. Raises `OSError`."""
        descriptor = os.open(f"{pid}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._proc)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _children(self, pid: int) -> list[int]:
        found: list[int] = []
        with contextlib.suppress(OSError), self.folder(pid, "task") as tasks:
            for task in os.listdir(tasks):
                found += map(int, self.read(pid, f"task/{task}/children").split())
        return found


@dataclass(slots=True)
class ResourceMonitor:
    """Sums the resource usage of a process tree."""

    tree: ProcessTree
    limits: TotalLimits
    work: str
    """The writable folder."""
    in_memory: bool
    """Whether that folder is a file system in memory."""
    swaps: bool = False
    _ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    _rounds: int = 0

    def exceeded_limit(self) -> str | None:
        """Describe the first exceeded limit, or return None."""
        self._rounds += 1
        processes = list(self.tree.processes())
        limits = self.limits
        if sum(process.threads for process in processes) > limits.processes:
            return f"ran more than {limits.processes} processes and threads"
        if self._cpu_s(processes) > limits.cpu_s:
            return f"used more than {limits.cpu_s:g} s of processor time with its processes"
        if self._memory_bytes(processes) > limits.memory_bytes:
            return f"used more than {limits.memory_bytes >> 20} MB of memory with its processes"
        if not self.in_memory and self._rounds % DISK_INTERVAL == 0 and not self._fits_on_disk(processes):
            return f"wrote more than {limits.disk_bytes >> 20} MB or {MOST_FILES} files"
        return None

    def _memory_bytes(self, processes: list[Process]) -> int:
        """Return the memory in use, counting shared pages once. Their costly count is made only if it can matter."""
        files = _used_bytes(self.work) if self.in_memory else 0
        resident = sum(process.resident_bytes for process in processes)
        if not self.swaps and resident + files <= self.limits.memory_bytes:
            return resident + files
        return sum(self._proportional_bytes(process) for process in processes) + files

    def _proportional_bytes(self, process: Process) -> int:
        """Return a process's proportional memory: all resident bytes if it denies inspection, 0 if it has ended."""
        try:
            lines = self.tree.read(process.pid, "smaps_rollup").splitlines()
        except OSError:
            now = self.tree.process(process.pid)
            return now.resident_bytes if now and now.began == process.began else 0
        values = (line.split() for line in lines)
        return sum(int(value[1]) << 10 for value in values if value[0] in (b"Pss:", b"SwapPss:"))

    def _cpu_s(self, processes: list[Process]) -> float:
        """Return the larger of two sums: one misses processes that lived between two rounds, the other those that were
        not waited for."""
        self._ticks.update({(process.pid, process.began): process.ticks for process in processes})
        top = self.tree.process(self.tree.top)
        waited_for = top.ticks_of_children if top else 0
        alive = sum(process.ticks + process.ticks_of_children for process in processes)
        return max(sum(self._ticks.values()), alive + waited_for) / TICKS

    def _fits_on_disk(self, processes: list[Process]) -> bool:
        count, used = 0, 0
        for entry in _entries(self.work):
            count, used = count + 1, used + entry.st_blocks * 512
            if count > MOST_FILES or used > self.limits.disk_bytes:
                return False
        return used + self._unlinked_bytes(processes) <= self.limits.disk_bytes

    def _unlinked_bytes(self, processes: list[Process]) -> int:
        """Return the size of deleted files that are still open or mapped."""
        device, sizes = os.stat(self.work).st_dev, dict[int, int]()
        for process in processes:
            with contextlib.suppress(OSError):
                for inode, size in (*self._open_files(process.pid, device), *self._mapped_files(process.pid, device)):
                    sizes[inode] = max(size, sizes.get(inode, 0))
        return sum(sizes.values())

    def _open_files(self, pid: int, device: int) -> Iterator[tuple[int, int]]:
        """Yield inode and size of open deleted files."""
        with self.tree.folder(pid, "fd") as folder:
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    status = os.stat(name, dir_fd=folder)
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_dev == device:
                        yield status.st_ino, status.st_blocks * 512

    def _mapped_files(self, pid: int, device: int) -> Iterator[tuple[int, int]]:
        """Yield inode and size of mapped deleted files. The size is estimated by the end of the mapping."""
        for line in self.tree.read(pid, "maps").splitlines():
            if line.endswith(b" (deleted)"):
                span, _, offset, place, inode = line.split()[:5]
                if tuple(int(part, 16) for part in place.split(b":")) == (os.major(device), os.minor(device)):
                    first, last = (int(part, 16) for part in span.split(b"-"))
                    yield int(inode), int(offset, 16) + last - first


class ProcessLock:
    """A lock between the supervising process and the first process of the sandbox: a token in a pipe.

    It is held while processes are killed and while they are started. Otherwise killing one pair could hit the next.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._release()

    @contextlib.contextmanager
    def acquired(self, wait_s: float) -> Iterator[bool]:
        """Acquire the lock within `wait_s` seconds until the end of the block. Yields whether that succeeded."""
        end, acquired = time.monotonic() + wait_s, self._acquire()
        while not acquired and (left := end - time.monotonic()) > 0:
            select.select([self._read], [], [], left)
            acquired = self._acquire()
        try:
            yield acquired
        finally:
            if acquired:
                self._release()

    def _acquire(self) -> bool:
        try:
            return bool(os.read(self._read, 1))
        except BlockingIOError:
            return False

    def _release(self) -> None:
        os.write(self._write, b"1")


def enforce_limits(monitor: ResourceMonitor, writing: int, lock: ProcessLock) -> int:
    """Kill the descendants when they exceed a limit, and report it. Returns the exit status of the top process."""
    while True:
        ended, status = os.waitpid(monitor.tree.top, os.WNOHANG)
        if ended:
            return status
        with lock.acquired(INTERVAL_S) as acquired:
            if acquired and (reason := monitor.exceeded_limit()):
                with contextlib.suppress(OSError):
                    os.write(writing, f"{reason}\n".encode())
                monitor.tree.kill()
        time.sleep(INTERVAL_S)


def kill_descendants() -> None:
    """Kill all descendants of this process."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ProcessTree(os.getpid(), proc).kill()
    finally:
        os.close(proc)


def connect_monitor(reading: int, lock: ProcessLock) -> None:
    """In the first process: set the pipe with the reports of `enforce_limits`, and the shared lock."""
    global _reports, _lock
    os.set_blocking(reading, False)
    _reports, _lock = reading, lock


@contextlib.contextmanager
def starting_processes() -> Iterator[None]:
    """In the first process: start processes, after all killing for an earlier exceeded limit is done.

    Raises `TimeoutError` after `START_S`.
    """
    with _lock.acquired(START_S) if _lock else contextlib.nullcontext(True) as acquired:
        if not acquired:
            raise TimeoutError("the processes of the last test could not be killed")
        _read_reports()
        yield


def reported_limit() -> str | None:
    """Return a description of the limit exceeded since `starting_processes`, or None."""
    reports = _read_reports().splitlines()
    return reports[0] if reports else None


def _read_reports() -> str:
    try:
        return os.read(_reports, 1 << 12).decode() if _reports is not None else ""
    except BlockingIOError:
        return ""


_reports: int | None = None
_lock: ProcessLock | None = None


def has_swap() -> bool:
    """Whether the host has swap space."""
    with contextlib.suppress(OSError), open("/proc/swaps") as file:
        return len(file.readlines()) > 1
    return False


def _entries(folder: str) -> Iterator[os.stat_result]:
    """Yield all entries below the folder. Unreadable folders are made readable, so that they are counted."""
    pending = [folder]
    while pending:
        path = pending.pop()
        with contextlib.suppress(OSError):
            if not os.access(path, os.R_OK | os.X_OK):
                os.chmod(path, 0o700)
            with os.scandir(path) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)


def _used_bytes(folder: str) -> int:
    usage = os.statvfs(folder)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize
