"""Memory of the daemon and its engines, with shared pages counted once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import psutil


def pss_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Proportional set size in bytes by name, of each process with its descendants, and the sum as `total`.

    A child with a name of its own (an engine is a child of the daemon) is counted under that name only. Ended processes
    count as 0. Systems other than Linux have no such size; there it is the resident set size.
    """
    named = set(pids.values())
    sizes = {name: sum(map(_pss, _family(pid, named - {pid}))) for name, pid in pids.items()}
    return {**sizes, "total": sum(sizes.values())}


def _family(pid: int, others: set[int]) -> Iterable[psutil.Process]:
    try:
        process = psutil.Process(pid)
        children = process.children()
    except psutil.NoSuchProcess:
        return
    yield process
    for child in children:
        if child.pid not in others:
            yield from _family(child.pid, others)


def _pss(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss if sys.platform == "linux" else process.memory_info().rss
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0
