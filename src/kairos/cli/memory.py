"""Memory of a daemon and its engines, with shared pages counted once."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psutil

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a daemon and its engines, in MB."""

    sizes: dict[str, float]
    """By program, and the sum as `total`."""
    measure: str
    """`MB PSS`, or `MB` if a size is an RSS, which counts shared pages in each process."""


def memory(pid: int | None) -> Memory | None:
    """The memory of the daemon and its child processes; None if it does not run."""
    try:
        daemon = psutil.Process(pid) if pid else None
        if daemon is None:
            return None
        found = {"daemon": [_size(daemon)]}
        for child in daemon.children():
            name = "model" if "model_server" in " ".join(child.cmdline()) else child.name()
            family = [child, *child.children(recursive=True)]
            found.setdefault(name, []).extend(_size(process) for process in family)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    sizes = {name: round(sum(size for size, _ in each), 1) for name, each in found.items()}
    proportional = all(is_pss for each in found.values() for _, is_pss in each)
    return Memory({**sizes, "total": round(sum(sizes.values()), 1)}, "MB PSS" if proportional else "MB")


def _size(process: psutil.Process) -> tuple[float, bool]:
    """The size in MB, and whether it is the proportional set size, which divides shared pages between processes."""
    if sys.platform != "linux":  # other systems have no PSS
        return process.memory_info().rss / MEGABYTE, False
    try:
        return process.memory_full_info().pss / MEGABYTE, True
    except psutil.AccessDenied:  # the daemon is not dumpable, so only root can read its PSS
        return process.memory_info().rss / MEGABYTE, False
    except psutil.NoSuchProcess:
        return 0.0, True
