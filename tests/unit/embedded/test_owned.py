"""A child process ends with the daemon, however the daemon ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kairos.embedded.process import WRAPPER
from tests.kit.conditions import eventually
from tests.unit.embedded.folders import NOBODY, ROOT

PARENT = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), "15", sys.argv[2], "/tmp", "/bin/sleep", "60"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize(
    "user", [":", pytest.param(f"{NOBODY}:{NOBODY}", marks=pytest.mark.skipif(not ROOT, reason="root"))]
)
async def test_child_ends_with_a_killed_parent(user: str) -> None:
    """Also if the child changes its user, which clears a death signal that was set before."""
    parent = _parent(user)
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    await eventually(lambda: child.name() == "sleep")
    if user != ":":
        assert child.uids().effective == NOBODY
        assert child.gids().effective == NOBODY
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, within_s=5)


def test_child_whose_parent_has_ended_does_not_start(tmp_path: Path) -> None:
    """The parent may end before the death signal is set."""
    made = tmp_path / "made"
    command = [
        sys.executable,
        "-I",
        "-S",
        str(WRAPPER),
        str(os.getpid() + 1),
        "15",
        ":",
        "/",
        "/usr/bin/touch",
        str(made),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "the daemon is gone")
    assert not made.exists()


def _parent(user: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, str(WRAPPER), user]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
