"""The memory that `kairos status` shows."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from kairos.cli.memory import memory

DAEMON = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]], stdout=1, check=False)"
)
ENGINE = (
    "import subprocess, sys; x = b'1' * 20_000_000; "
    "subprocess.run([sys.executable, '-c', sys.argv[1]], stdout=1, check=False)"
)
CHILD = "x = b'1' * 30_000_000; print('up', flush=True); import time; time.sleep(60)"


def test_memory_is_counted_once_and_by_engine():
    """Child processes count for their engine, and the engine does not count again for the daemon."""
    command = [sys.executable, "-c", DAEMON, ENGINE, CHILD]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert daemon.stdout
    family = [psutil.Process(daemon.pid)]
    try:
        assert daemon.stdout.readline() == "up\n"
        family += family[0].children(recursive=True)
        usage = memory(daemon.pid)
        name = family[1].name()
    finally:
        for process in reversed(family):
            process.kill()
        daemon.wait()
        daemon.stdout.close()
    assert usage
    assert set(usage.sizes) == {"daemon", name, "total"}
    assert usage.sizes["daemon"] < 30
    assert 50 < usage.sizes[name] < 100
    assert usage.sizes["total"] == pytest.approx(usage.sizes["daemon"] + usage.sizes[name], abs=0.2)


def test_ended_process_has_no_memory():
    assert memory(2**22 + 1) is None
    assert memory(None) is None


def test_memory_is_labelled_pss_only_where_pss_was_measured(monkeypatch: pytest.MonkeyPatch):
    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    measured = memory(os.getpid())
    assert measured
    assert measured.measure == "MB PSS"
    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    measured = memory(os.getpid())
    assert measured
    assert (measured.measure, measured.sizes["daemon"] > 1) == ("MB", True)
