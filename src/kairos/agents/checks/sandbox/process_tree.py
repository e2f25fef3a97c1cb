"""Limits over all processes of the sandbox together, kept by the one process that stands above them.

The kernel limits single processes (`jail.drop_privileges`), and users. What is summed here, some fifty times a second, is what
five children with a fifth too much each would get past: memory, processor time, processes and threads, and files.
A process cannot leave the tree: whoever loses its parent is given to the sandbox's first process, a subreaper (`prctl`)
or the first of its namespace. Standard library alone.
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

LOOK_S = 0.02
DISK_LOOKS = 5
"""Files are counted at every fifth look."""
MOST_FILES = 5_000
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
KILL_S = 5.0
START_S = KILL_S + 5.0
"""Within which the process that watches has ended what it had to end, on a busy machine too."""


@dataclass(frozen=True, slots=True)
class TotalLimits:
    """What all processes of the sandbox may use together."""

    memory_bytes: int
    cpu_s: float
    processes: int
    """With threads."""
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """One process as `/proc/PID/stat` has it."""

    pid: int
    began: int
    """In clock ticks since the machine's start: with the pid it names one process for good."""
    ticks: int
    """Processor time of its own."""
    ticks_of_children: int
    threads: int
    resident_bytes: int


class ProcessTree:
    """The processes below one, which does not count itself."""

    def __init__(self, top: int, proc: int) -> None:
        """`proc` is the machine's `/proc` as an open folder: the sandbox's own root has none."""
        self.top = top
        self._proc = proc

    def processes(self) -> Iterator[Process]:
        """All that live."""
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
        """None for one that has ended, waited for or not."""
        try:
            fields = self.read(pid, "stat").rpartition(b")")[2].split()
        except OSError:
            return None
        if fields[0] in (b"Z", b"X"):
            return None
        user, system, users, systems, threads, began, pages = (int(fields[at]) for at in (11, 12, 13, 14, 17, 19, 21))
        return Process(pid, began, user + system, users + systems, threads, pages * PAGE)

    def kill(self) -> None:
        """End all of them, and what they start meanwhile: halted first, so that none outruns the others' end."""
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
        """A file of `/proc/PID`. Raises `OSError`."""
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
        """A folder of `/proc/PID`, opened. Raises `OSError`."""
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
    """What a family uses together."""

    family: ProcessTree
    limits: TotalLimits
    work: str
    """The folder that it writes to."""
    in_memory: bool
    """Whether that folder is a file system of its own, in memory."""
    swaps: bool = False
    _ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    _looks: int = 0

    def excess(self) -> str | None:
        """What is used beyond a limit, in words; None where nothing is."""
        self._looks += 1
        processes = list(self.family.processes())
        limits = self.limits
        if sum(process.threads for process in processes) > limits.processes:
            return f"ran more than {limits.processes} processes and threads"
        if self._cpu_s(processes) > limits.cpu_s:
            return f"used more than {limits.cpu_s:g} s of processor time with its processes"
        if self._memory_bytes(processes) > limits.memory_bytes:
            return f"used more than {limits.memory_bytes >> 20} MB of memory with its processes"
        if not self.in_memory and self._looks % DISK_LOOKS == 0 and not self._fits_on_disk(processes):
            return f"wrote more than {limits.disk_bytes >> 20} MB or {MOST_FILES} files"
        return None

    def _memory_bytes(self, processes: list[Process]) -> int:
        """Shared pages count once. To know that costs a walk over all pages, so it is asked where it can matter."""
        files = _used_bytes(self.work) if self.in_memory else 0
        resident = sum(process.resident_bytes for process in processes)
        if not self.swaps and resident + files <= self.limits.memory_bytes:
            return resident + files
        return sum(self._proportional_bytes(process) for process in processes) + files

    def _proportional_bytes(self, process: Process) -> int:
        """Of a process that may not be inspected: its resident bytes, shared or not. Of one that has ended since: 0."""
        try:
            lines = self.family.read(process.pid, "smaps_rollup").splitlines()
        except OSError:
            now = self.family.process(process.pid)
            return now.resident_bytes if now and now.began == process.began else 0
        values = (line.split() for line in lines)
        return sum(int(value[1]) << 10 for value in values if value[0] in (b"Pss:", b"SwapPss:"))

    def _cpu_s(self, processes: list[Process]) -> float:
        """The larger of two sums: one misses processes that lived between two looks, the other those whose parents
        did not wait for them."""
        self._ticks.update({(process.pid, process.began): process.ticks for process in processes})
        top = self.family.process(self.family.top)
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
        """Files that have no name any more take space as long as somebody has them open or mapped."""
        device, sizes = os.stat(self.work).st_dev, dict[int, int]()
        for process in processes:
            with contextlib.suppress(OSError):
                for inode, size in (*self._open_files(process.pid, device), *self._mapped_files(process.pid, device)):
                    sizes[inode] = max(size, sizes.get(inode, 0))
        return sum(sizes.values())

    def _open_files(self, pid: int, device: int) -> Iterator[tuple[int, int]]:
        """Inode and bytes of those without a name."""
        with self.family.folder(pid, "fd") as folder:
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    status = os.stat(name, dir_fd=folder)
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_dev == device:
                        yield status.st_ino, status.st_blocks * 512

    def _mapped_files(self, pid: int, device: int) -> Iterator[tuple[int, int]]:
        """Inode and bytes of those without a name: up to the end of the mapping, as the file cannot be asked."""
        for line in self.family.read(pid, "maps").splitlines():
            if line.endswith(b" (deleted)"):
                span, _, offset, place, inode = line.split()[:5]
                if tuple(int(part, 16) for part in place.split(b":")) == (os.major(device), os.minor(device)):
                    first, last = (int(part, 16) for part in span.split(b"-"))
                    yield int(inode), int(offset, 16) + last - first


class ProcessLock:
    """A lock between the process that watches and the first process of the sandbox: a token in a pipe.

    Who ends processes holds it, and who starts them does: otherwise the end of one pair could reach the next one.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._put_back()

    @contextlib.contextmanager
    def taken(self, wait_s: float) -> Iterator[bool]:
        """Whether it was free within so many seconds; until the end of the block it is ours then."""
        end, ours = time.monotonic() + wait_s, self._take()
        while not ours and (left := end - time.monotonic()) > 0:
            select.select([self._read], [], [], left)
            ours = self._take()
        try:
            yield ours
        finally:
            if ours:
                self._put_back()

    def _take(self) -> bool:
        try:
            return bool(os.read(self._read, 1))
        except BlockingIOError:
            return False

    def _put_back(self) -> None:
        os.write(self._write, b"1")


def enforce_limits(tree: ResourceMonitor, writing: int, lock: ProcessLock) -> int:
    """Until the top process ends: end what is below where a limit is passed, and say why. Returns its exit status."""
    while True:
        ended, status = os.waitpid(tree.family.top, os.WNOHANG)
        if ended:
            return status
        with lock.taken(LOOK_S) as ours:
            if ours and (reason := tree.excess()):
                with contextlib.suppress(OSError):
                    os.write(writing, f"{reason}\n".encode())
                tree.family.kill()
        time.sleep(LOOK_S)


def kill_descendants() -> None:
    """End all that this process started, and what that started."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ProcessTree(os.getpid(), proc).kill()
    finally:
        os.close(proc)


def connect_monitor(reading: int, lock: ProcessLock) -> None:
    """In the first process: where the words of `watch` come from, and what it shares with `watch`."""
    global _reports, _lock
    os.set_blocking(reading, False)
    _reports, _lock = reading, lock


@contextlib.contextmanager
def starting_processes() -> Iterator[None]:
    """In the first process: start processes, once nothing is ended any more because of a limit that was passed before.

    Raises `TimeoutError` where that is not so within `START_S`.
    """
    with _lock.taken(START_S) if _lock else contextlib.nullcontext(True) as ours:
        if not ours:
            raise TimeoutError("the processes of the last test could not be ended")
        _read_reports()
        yield


def reported_excess() -> str | None:
    """The limit that was passed since `starting_processes`, in words; None where none was."""
    words = _read_reports().splitlines()
    return words[0] if words else None


def _read_reports() -> str:
    try:
        return os.read(_reports, 1 << 12).decode() if _reports is not None else ""
    except BlockingIOError:
        return ""


_reports: int | None = None
_lock: ProcessLock | None = None


def has_swap() -> bool:
    """Whether memory can be anywhere but resident."""
    with contextlib.suppress(OSError), open("/proc/swaps") as file:
        return len(file.readlines()) > 1
    return False


def _entries(folder: str) -> Iterator[os.stat_result]:
    """All below it. A folder that its owner closed is opened again, or what lies in it would not be counted."""
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
