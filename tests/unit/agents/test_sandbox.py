"""Hostile code runs in the real sandbox: it cannot pass its tests, and leaves nothing behind.

These tests run the sandbox directly, without the guardian's checks of the syntax tree, which refuse most of this code
before it runs. The sandbox must hold without them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from pathlib import Path

import psutil
import pytest

from kairos.agents.base import Draft
from kairos.agents.checks.sandbox.launcher import PROCESSES, SandboxResult
from kairos.agents.checks.task_tests import accept_tests
from kairos.agents.guardian import GuardianAgent
from kairos.config import GuardianSettings
from tests.kit.conditions import eventually
from tests.kit.drafts import python, task
from tests.unit.agents.boxes import MIB, TESTS, result, run_as_test, run_in_sandbox


async def test_honest_code_passes_and_wrong_code_fails():
    """Control: the other tests do not fail for another reason."""
    assert (await result("def answer():\n    return 42")).passed
    assert "expected 42, got 41" in (await result("def answer():\n    return 41")).message


async def test_code_is_isolated_where_the_kernel_permits_it():
    if not (await run_in_sandbox("def answer():\n    return 42")).isolated:
        pytest.skip("this kernel gives no namespaces to this user")


# Limits


async def test_endless_loop_is_ended_in_time_and_fails_only_its_own_test():
    began = time.monotonic()
    two = "def test_a():\n    loop()\ndef test_b():\n    pass"
    report = await run_in_sandbox("def loop():\n    while True: pass", two, seconds=3)
    assert "ran out of time" in report.results[0].message
    assert report.results[1].passed
    assert time.monotonic() - began < 3, "the loop had half of the time, not all of it"


async def test_fork_bomb_cannot_exceed_its_limit_of_processes():
    """The limit does not count processes of other users or sandboxes. The first process counts."""
    forked = await run_as_test(
        "import os, time\nchildren = 0\n"
        "try:\n    while children < 1000:\n        if os.fork() == 0: time.sleep(60)\n        children += 1\n"
        "except OSError:\n    pass\nraise Exception(f'{children} children')"
    )
    assert forked.message.endswith(f"{PROCESSES - 1} children")


async def test_all_processes_of_a_fork_bomb_are_ended():
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    outcome, seen = await _watched(run_as_test(bomb, seconds=1))
    assert not outcome.passed
    assert len(seen) >= PROCESSES, "the bomb forked"
    await _all_ended(seen)


async def test_memory_is_limited():
    code = "hog = bytearray(300 * 2**20)\ndef answer():\n    return 42"
    assert (await result(code, memory=512 * MIB)).passed
    assert "MemoryError" in (await result(code, memory=128 * MIB)).message


async def test_exhausting_memory_fails_only_its_own_test():
    answer = "def hog():\n    x = []\n    while True: x.append('y' * 10**6)"
    report = await run_in_sandbox(answer, "def test_a():\n    hog()\ndef test_b():\n    pass", memory=128 * MIB)
    assert not report.results[0].passed
    assert report.results[1].passed


async def test_output_of_any_size_is_discarded():
    shout = "print('x' * 10**6); sys.stderr.write('y' * 10**6)"
    flood = f"import sys\ndef answer():\n    for _ in range(200): {shout}\n    return 42"
    assert (await result(flood, seconds=10)).passed


async def test_failure_message_is_short_however_long_the_exception_is():
    loud = await result("def answer():\n    raise Exception('x' * 20_000_000)")
    assert not loud.passed
    assert 0 < len(loud.message) <= 1000


async def test_flooding_the_connection_to_the_tests_fails():
    flood = "for fd in range(3, 64):\n        try: os.write(fd, b'x' * 65536)\n        except OSError: pass"
    flood = f"import os\nwhile True:\n    {flood}"
    began = time.monotonic()
    assert "connection to the tests" in (await result(flood, seconds=10)).message
    assert time.monotonic() - began < 5


async def test_files_can_be_written_but_not_large_ones():
    assert (await run_as_test("open('f', 'wb').write(b'x' * 2**20)")).passed
    assert "OSError" in (await run_as_test("f = open('f', 'wb')\nfor _ in range(40): f.write(b'x' * 2**20)")).message


# Early exits


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("os._exit(0)", "ended the program"),
        ("sys.exit(0)", "ended the program"),
        ("sys.exit()", "ended the program"),
        ("os.abort()", "SIGABRT"),
        ("signal.raise_signal(signal.SIGSEGV)", "SIGSEGV"),
        ("os.execv(sys.executable, ['python', '-c', 'pass'])", ""),
    ],
)
@pytest.mark.parametrize("where", ["def answer():\n    {}", "{}\ndef answer():\n    return 42"])
async def test_early_exit_is_not_a_success(ending: str, reason: str, where: str):
    outcome = await result("import os, signal, sys\n" + where.format(ending))
    assert not outcome.passed
    assert reason in outcome.message


# Isolation


async def test_passing_test_leaves_no_processes():
    daemon = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    time.sleep(600)\n"
        "end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    )
    began = time.monotonic()
    outcome, seen = await _watched(run_as_test(daemon, seconds=10))
    assert outcome.passed
    assert time.monotonic() - began < 5, "the sandbox does not wait for the processes that hold the pipe"
    assert len(seen) >= 5, "warden, first process, test, child and grandchild existed"
    await _all_ended(seen)


async def test_processes_of_a_test_are_ended_before_the_next_test():
    """Only the process of the tests and that of the answer, started just before it, exist."""
    tests = (
        "def test_a():\n    import os, time\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\n"
        "def test_b():\n    import os\n    for pid in range(2, 50):\n"
        "        if pid not in (os.getpid(), os.getpid() - 1):\n"
        "            try: os.kill(pid, 0)\n            except ProcessLookupError: continue\n"
        "            raise Exception(f'process {pid} is there')\n"
    )
    await _skip_without_isolation()
    results = (await run_in_sandbox("x = 1", tests)).results
    assert [results[number].message for number in (0, 1)] == ["", ""]


async def test_files_outside_can_be_neither_read_nor_written(open_folder: Path):
    """The permissions of the files would allow it."""
    (open_folder / "secret").write_text("s3cret")
    reading = await run_as_test(f"open({str(open_folder / 'secret')!r}).read()")
    await run_as_test(f"open({str(open_folder / 'written')!r}, 'w').write('x')")
    await _skip_without_isolation()
    assert "FileNotFoundError" in reading.message
    assert [path.name for path in open_folder.iterdir()] == ["secret"]
    for place in ("/etc/passwd", "/proc/1/environ", str(Path.home() / ".bashrc")):
        assert "FileNotFoundError" in (await run_as_test(f"open({place!r})")).message


async def test_python_itself_cannot_be_changed():
    assert (await run_as_test("import os\nopen(os.__file__)")).passed
    assert not (await run_as_test("import os\nopen(os.__file__, 'a')")).passed
    assert not (await run_as_test("import os\nopen(os.path.dirname(os.__file__) + '/kairos_was_here', 'w')")).passed


async def test_code_runs_as_a_user_of_its_own_and_cannot_become_root():
    """Not as `nobody` either: the code could access the files and processes of services that run as `nobody`."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a box a user of its own")
    report_user = "import os\nraise Exception(f'user {os.getuid()}')"
    first, second = await asyncio.gather(run_as_test(report_user), run_as_test(report_user))
    users = {int(outcome.message.rpartition(" ")[2]) for outcome in (first, second)}
    assert len(users) == 2
    assert users.isdisjoint({0, 65534})
    assert "PermissionError" in (await run_as_test("import os\nos.setuid(0)")).message


async def test_network_is_unreachable():
    calls: list[int] = []

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: calls == [1], 5, "the server accepts connections")
        writer.close()
        outcome = await run_as_test(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
    await _skip_without_isolation()
    assert "OSError" in outcome.message
    assert calls == [1]


async def test_environment_of_the_daemon_is_hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAIROS_SECRET_FOR_TEST", "s3cret")
    seen = await run_as_test("import os\nraise Exception(sorted(os.environ))")
    assert "raised Exception" in seen.message
    assert "KAIROS" not in seen.message


async def test_tests_share_no_state_and_leave_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = await run_in_sandbox("x = []", "def test_a():\n    x.append(1)\ndef test_b():\n    assert x == []")
    assert [outcome.passed for outcome in report.results.values()] == [True, True]
    assert list(tmp_path.iterdir()) == []


async def test_cancelling_the_judgement_ends_the_child():
    await accept_tests(TESTS)  # starts the process that parses code, which stays
    judging = asyncio.ensure_future(
        GuardianAgent(GuardianSettings(test_seconds=60)).judge(
            task(tests=TESTS), Draft(python("def answer():\n    while True: pass"), "stop")
        )
    )
    others = _descendants()
    children = await eventually(lambda: len(new := _descendants() - others) >= 3 and new, 10, "the code runs")
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    await _all_ended(children)


async def _watched(running: Awaitable[SandboxResult]) -> tuple[SandboxResult, set[psutil.Process]]:
    """Return the result, and every descendant process seen meanwhile."""
    others, seen = _descendants(), set[psutil.Process]()
    work = asyncio.ensure_future(running)
    while not work.done():
        seen |= _descendants() - others
        await asyncio.wait({work}, timeout=0.02)
    return work.result(), seen


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


async def _all_ended(processes: set[psutil.Process]) -> None:
    await eventually(lambda: not any(_runs(process) for process in processes), 5, f"{processes} have ended")


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _skip_without_isolation() -> None:
    if not (await run_in_sandbox("def answer():\n    return 42")).isolated:
        pytest.skip("this kernel gives no namespaces to this user")
