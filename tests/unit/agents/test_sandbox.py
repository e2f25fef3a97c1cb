"""Code that does not want to be tested, run for real: none gets its way, and nothing of it is left behind.

These tests speak to the box itself, below the guardian's checks of the syntax tree: those refuse most of this code
before it runs, and the walls must hold without them.
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
from kairos.agents.checks.sandbox.box import PROCESSES, SandboxResult
from kairos.agents.checks.task_tests import accept_tests
from kairos.agents.guardian import GuardianAgent
from kairos.config import GuardianSettings
from tests.kit.conditions import eventually
from tests.kit.drafts import python, task
from tests.unit.agents.boxes import MIB, TESTS, boxed, inside, result


async def test_honest_code_passes_and_wrong_code_fails():
    """The control: what the others try is not refused for another reason."""
    assert (await result("def answer():\n    return 42")).passed
    assert "expected 42, got 41" in (await result("def answer():\n    return 41")).message


async def test_every_wall_stands_where_the_kernel_lets_us_build_it():
    if not (await boxed("def answer():\n    return 42")).isolated:
        pytest.skip("this kernel gives no namespaces to this user")


# Limits


async def test_an_endless_loop_is_ended_in_its_time_and_costs_its_own_test_alone():
    began = time.monotonic()
    two = "def test_a():\n    loop()\ndef test_b():\n    pass"
    report = await boxed("def loop():\n    while True: pass", two, seconds=3)
    assert "ran out of time" in report.results[0].message
    assert report.results[1].passed
    assert time.monotonic() - began < 3, "half of the time, and not all of it"


async def test_a_fork_bomb_gets_its_own_share_of_processes_and_no_more():
    """Whoever else runs as whichever user: as many as the limit says, less the first."""
    forked = await inside(
        "import os, time\nchildren = 0\n"
        "try:\n    while children < 1000:\n        if os.fork() == 0: time.sleep(60)\n        children += 1\n"
        "except OSError:\n    pass\nraise Exception(f'{children} children')"
    )
    assert forked.message.endswith(f"{PROCESSES - 1} children")


async def test_a_fork_bomb_is_ended_whole():
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    outcome, seen = await _watched(inside(bomb, seconds=1))
    assert not outcome.passed
    assert len(seen) >= PROCESSES, "it went off"
    await _all_ended(seen)


async def test_memory_is_limited():
    code = "hog = bytearray(300 * 2**20)\ndef answer():\n    return 42"
    assert (await result(code, memory=512 * MIB)).passed
    assert "MemoryError" in (await result(code, memory=128 * MIB)).message


async def test_a_hog_that_takes_all_it_gets_takes_down_its_own_test_alone():
    answer = "def hog():\n    x = []\n    while True: x.append('y' * 10**6)"
    report = await boxed(answer, "def test_a():\n    hog()\ndef test_b():\n    pass", memory=128 * MIB)
    assert not report.results[0].passed
    assert report.results[1].passed


async def test_output_goes_nowhere_however_much_it_is():
    shout = "print('x' * 10**6); sys.stderr.write('y' * 10**6)"
    flood = f"import sys\ndef answer():\n    for _ in range(200): {shout}\n    return 42"
    assert (await result(flood, seconds=10)).passed


async def test_the_words_of_a_failure_are_short_however_long_the_code_makes_them():
    loud = await result("def answer():\n    raise Exception('x' * 20_000_000)")
    assert not loud.passed
    assert 0 < len(loud.message) <= 1000


async def test_flooding_the_connection_to_the_tests_is_ended_and_is_no_success():
    flood = "for fd in range(3, 64):\n        try: os.write(fd, b'x' * 65536)\n        except OSError: pass"
    flood = f"import os\nwhile True:\n    {flood}"
    began = time.monotonic()
    assert "connection to the tests" in (await result(flood, seconds=10)).message
    assert time.monotonic() - began < 5


async def test_a_file_can_be_written_and_none_can_be_large():
    assert (await inside("open('f', 'wb').write(b'x' * 2**20)")).passed
    assert "OSError" in (await inside("f = open('f', 'wb')\nfor _ in range(40): f.write(b'x' * 2**20)")).message


# Ends before its time


@pytest.mark.parametrize(
    ("ending", "words"),
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
async def test_ending_early_is_no_success(ending: str, words: str, where: str):
    outcome = await result("import os, signal, sys\n" + where.format(ending))
    assert not outcome.passed
    assert words in outcome.message


# Walls


async def test_no_grandchild_is_left_by_a_test_that_passed():
    daemon = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    time.sleep(600)\n"
        "end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    )
    began = time.monotonic()
    outcome, seen = await _watched(inside(daemon, seconds=10))
    assert outcome.passed
    assert time.monotonic() - began < 5, "what is left behind holds the pipe, and is not waited for"
    assert len(seen) >= 5, "warden, first process, test, child and grandchild were there"
    await _all_ended(seen)


async def test_what_a_test_starts_is_ended_before_the_next_begins():
    """Nobody is there but the tests' process and, started just before it, the answer's."""
    tests = (
        "def test_a():\n    import os, time\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\n"
        "def test_b():\n    import os\n    for pid in range(2, 50):\n"
        "        if pid not in (os.getpid(), os.getpid() - 1):\n"
        "            try: os.kill(pid, 0)\n            except ProcessLookupError: continue\n"
        "            raise Exception(f'process {pid} is there')\n"
    )
    await _skip_without_walls()
    results = (await boxed("x = 1", tests)).results
    assert [results[number].message for number in (0, 1)] == ["", ""]


async def test_nothing_outside_can_be_written_or_seen(tmp_path: Path):
    """Permissions would allow it: the walls do not."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o001)
    tmp_path.chmod(0o777)
    (tmp_path / "secret").write_text("s3cret")
    reading = await inside(f"open({str(tmp_path / 'secret')!r}).read()")
    await inside(f"open({str(tmp_path / 'written')!r}, 'w').write('x')")
    await _skip_without_walls()
    assert "FileNotFoundError" in reading.message
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    for place in ("/etc/passwd", "/proc/1/environ", str(Path.home() / ".bashrc")):
        assert "FileNotFoundError" in (await inside(f"open({place!r})")).message


async def test_python_itself_cannot_be_changed():
    assert (await inside("import os\nopen(os.__file__)")).passed
    assert not (await inside("import os\nopen(os.__file__, 'a')")).passed
    assert not (await inside("import os\nopen(os.path.dirname(os.__file__) + '/kairos_was_here', 'w')")).passed


async def test_the_code_runs_as_nobody_else_on_the_machine_and_cannot_become_root():
    """Not even as `nobody`, whom services run as: their files and processes would be its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a box a user of its own")
    ask = "import os\nraise Exception(f'user {os.getuid()}')"
    first, second = await asyncio.gather(inside(ask), inside(ask))
    users = {int(outcome.message.rpartition(" ")[2]) for outcome in (first, second)}
    assert len(users) == 2
    assert users.isdisjoint({0, 65534})
    assert "PermissionError" in (await inside("import os\nos.setuid(0)")).message


async def test_there_is_no_network():
    calls: list[int] = []

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: calls == [1], 5, "the server takes calls")
        writer.close()
        outcome = await inside(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
    await _skip_without_walls()
    assert "OSError" in outcome.message
    assert calls == [1]


async def test_the_environment_of_the_daemon_is_not_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAIROS_SECRET_FOR_TEST", "s3cret")
    seen = await inside("import os\nraise Exception(sorted(os.environ))")
    assert "raised Exception" in seen.message
    assert "KAIROS" not in seen.message


async def test_one_test_sees_nothing_of_another_and_nothing_is_left_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = await boxed("x = []", "def test_a():\n    x.append(1)\ndef test_b():\n    assert x == []")
    assert [outcome.passed for outcome in report.results.values()] == [True, True]
    assert list(tmp_path.iterdir()) == []


async def test_cancelling_the_judgement_ends_the_child():
    await accept_tests(TESTS)  # starts the process that reads code, which stays
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
    """What came of it, and every process that was seen below us meanwhile."""
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


async def _skip_without_walls() -> None:
    if not (await boxed("def answer():\n    return 42")).isolated:
        pytest.skip("this kernel gives no namespaces to this user")
