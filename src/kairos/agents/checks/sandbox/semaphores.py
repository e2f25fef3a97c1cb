"""Semaphores and named shared memory for `multiprocessing` without access to `/dev/shm`.

The C library keeps both in `/dev/shm`, together with those of other programs of the same user, such as a database.
Landlock cannot distinguish them, so access is denied. This module replaces `_multiprocessing` and `_posixshmem`:
semaphores are eventfds, which forked children inherit, and shared memory is a file in the work folder. Uses only the
standard library.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import sys
import threading
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

RECURSIVE = 0
MOST = 2**31 - 1
LONGEST_S = 1e6


class SemLock:
    """Replacement for `_multiprocessing.SemLock` (Modules/_multiprocessing/semaphore.c), with the same interface."""

    SEM_VALUE_MAX = MOST

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        self.kind, self.maxvalue, self.name = kind, maxvalue, None if unlink else name
        self.handle = os.eventfd(value, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._guard = os.eventfd(1, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._held, self._holder = 0, 0
        self._add(value)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        if self.kind == RECURSIVE and self._is_mine():
            self._held += 1
            return True
        if not self._wait(0 if not block else LONGEST_S if timeout is None else max(0.0, timeout)):
            return False
        self._add(-1)
        self._held, self._holder = self._held + 1, threading.get_ident()
        return True

    def release(self) -> None:
        if self.kind == RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._held > 1:
                self._held -= 1
                return
        if not self._add(1):
            raise ValueError("semaphore or lock released too many times")
        self._held -= 1
        os.eventfd_write(self.handle, 1)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _count(self) -> int:
        return self._held

    def _is_mine(self) -> bool:
        return self._held > 0 and self._holder == threading.get_ident()

    def _get_value(self) -> int:
        return struct.unpack_from("q", self._shared)[0]

    def _is_zero(self) -> bool:
        return not select.select([self.handle], [], [], 0)[0]

    def _after_fork(self) -> None:
        self._held = 0

    @staticmethod
    def _rebuild(*_: object) -> SemLock:
        raise OSError("only forked child processes can use these locks")

    def _wait(self, wait_s: float) -> bool:
        end = time.monotonic() + wait_s
        while True:
            try:
                os.eventfd_read(self.handle)
                return True
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                select.select([self.handle], [], [], left)

    def _add(self, change: int) -> bool:
        """Change the shared value. Returns False if it would exceed the maximum."""
        os.eventfd_read(self._guard)
        try:
            value = self._get_value() + change
            if value > self.maxvalue:
                return False
            struct.pack_into("q", self._shared, 0, value)
            return True
        finally:
            os.eventfd_write(self._guard, 1)

    def __del__(self) -> None:
        for descriptor in (getattr(self, "handle", None), getattr(self, "_guard", None)):
            if descriptor is not None:
                os.close(descriptor)


def install(folder: str) -> None:
    """Replace both modules. Shared memory is kept in the folder."""
    semaphores, memory = ModuleType("_multiprocessing"), ModuleType("_posixshmem")
    vars(semaphores).update(SemLock=SemLock, sem_unlink=_unlink, flags={})
    vars(memory).update(_memory_in(folder))
    sys.modules.update({"_multiprocessing": semaphores, "_posixshmem": memory})
    sys.meta_path.insert(0, _Heap())


class _Heap:
    """Import hook that makes `multiprocessing.heap` use files in the temporary folder instead of `/dev/shm`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        del target
        spec = PathFinder.find_spec(name, path) if name == "multiprocessing.heap" else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            module.Arena._dir_candidates = []

        spec.loader.exec_module = exec_module
        return spec


def _unlink(name: str) -> None:
    """Do nothing, as semaphores have no names."""


def _memory_in(folder: str) -> dict[str, object]:
    def place(path: str) -> str:
        return os.path.join(folder, f".shm{path.replace('/', '-')}")

    def shm_open(path: str, flags: int, mode: int = 0o777) -> int:
        return os.open(place(path), flags | os.O_CLOEXEC, mode)

    def shm_unlink(path: str) -> None:
        os.unlink(place(path))

    return {"shm_open": shm_open, "shm_unlink": shm_unlink}
