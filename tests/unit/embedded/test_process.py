"""One owned process: its log, its end, its environment."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from kairos.embedded.process import Command, OwnedProcess


def python(tmp_path: Path, code: str, **options: object) -> OwnedProcess:
    return OwnedProcess(Command((sys.executable, "-u", "-c", code), tmp_path, tmp_path / "it.log", **options))  # type: ignore[arg-type]


async def test_log_contains_only_the_current_run_and_is_private(tmp_path: Path) -> None:
    first = python(tmp_path, "print('first')")
    assert await first.ends_within(20)
    second = python(tmp_path, "print('one'); print('two'); print('three')")
    assert await second.ends_within(20)
    assert second.log_tail(2) == "two\nthree"
    assert "first" not in second.log_tail()
    assert (tmp_path / "it.log").stat().st_mode & 0o777 == 0o600


async def test_long_log_is_rotated_while_the_program_writes(tmp_path: Path) -> None:
    process = python(tmp_path, "print('x' * 5000)\nimport signal\nsignal.sigwait([15])\nprint('end')")
    while (tmp_path / "it.log").stat().st_size < 5001:  # the newline is written separately
        assert not await process.ends_within(0.01)
    process.rotate_log(limit=1000)
    assert (tmp_path / "it.log").stat().st_size == 0
    assert (tmp_path / "it.log.1").stat().st_size == 5001
    await process.stop()
    assert process.log_tail() == "end" or process.exit_status == -signal.SIGTERM
    assert (tmp_path / "it.log").stat().st_size < 1000  # no hole of zeros: the program appends


async def test_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = python(tmp_path, "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(60)")
    while process.log_tail() != "deaf":
        assert not await process.ends_within(0.01)
    await process.stop(limit_s=0.2)
    assert process.exit_status == -signal.SIGKILL


async def test_environment_contains_no_secrets_of_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PGHOST", "elsewhere")
    process = python(tmp_path, "import os; print(sorted(os.environ))", environment={"ITS_OWN": "1"})
    assert await process.ends_within(20)
    seen = process.log_tail()
    assert "ITS_OWN" in seen
    assert "OPENAI_API_KEY" not in seen
    assert "PGHOST" not in seen


async def test_ctrl_c_in_the_daemons_terminal_does_not_reach_the_process(tmp_path: Path) -> None:
    """A terminal signals the whole process group; the daemon stops its engines last."""
    process = python(tmp_path, "import time; time.sleep(60)")
    assert os.getpgid(process.pid) != os.getpgid(0)
    await process.stop()
