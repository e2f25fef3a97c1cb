"""Ends engine processes left behind by a killed daemon, because two engines on one folder would corrupt its data.

The caller holds the lock of the data folder, so no running daemon owns these processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from functools import partial
from pathlib import Path

import psutil

from kairos.background_tasks import run_in_thread

log = logging.getLogger(__name__)

END_LIMIT_S = 15.0


async def end_orphans(folder: Path, program: str, stops: tuple[signal.Signals, ...]) -> None:
    """End every process of `program` with the working directory `folder`: by the signals `stops`, then by SIGKILL."""
    for number in (*stops, signal.SIGKILL):
        found = await run_in_thread(partial(_working_in, folder, program), END_LIMIT_S)
        if not found:
            return
        log.warning(
            "an earlier daemon left %s running (process %s), ending it", program, ", ".join(str(p.pid) for p in found)
        )
        for process in _roots(found) if number is not signal.SIGKILL else found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        await run_in_thread(partial(psutil.wait_procs, found, END_LIMIT_S), 2 * END_LIMIT_S)


def _working_in(folder: Path, program: str) -> list[psutil.Process]:
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            process = psutil.Process(pid)
            if process.cwd() == str(folder) and any(program in part for part in process.cmdline()):
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def _roots(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Processes whose parent is not in the list. They end their children themselves (as PostgreSQL does)."""
    pids = {process.pid for process in processes}
    heads = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                heads.append(process)
    return heads
