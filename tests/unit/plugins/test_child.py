"""A sync plugin runs its task in a child process, and can harm only that process."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from kairos.errors import KairosError
from kairos.plugins.child_process import MAX_LINES, ChildLimits
from kairos.plugins.child_run import run_in_child
from kairos.plugins.offline import OfflineContext
from kairos.plugins.plugin_errors import (
    PluginCallInvalid,
    PluginCpu,
    PluginCrashed,
    PluginDied,
    PluginMemory,
    PluginRefused,
    PluginRefusedForNow,
    PluginReturnedNonsense,
)
from kairos.plugins.sources import of_file
from tests.kit.conditions import eventually
from tests.kit.plugins import plugin

LIMITS = ChildLimits(memory_mb=128, cpu_s=20)


class PluginRun:
    """Runs a plugin in a child process, with its limits and its context."""

    def __init__(self, folder: Path, limits: ChildLimits = LIMITS, answers: tuple[str, ...] = ()) -> None:
        self.file = folder / "p.py"
        self.limits = limits
        self.context = OfflineContext("P", answers, None, {"http://x/a": {"ok": [1]}}, 60)

    async def __call__(self, execute: str, prompt: str = "hello", top: str = "", more: str = "") -> str:
        self.file.write_text(plugin("P", execute=execute, top=top, more=more))
        return self.context.text(await self.result(prompt))

    async def result(self, prompt: str = "hello") -> Mapping[str, Any]:
        task = self.context.task(prompt, {"colour": "red"}, 60)
        return await run_in_child(of_file(self.file), "Plugin", self.limits, self.context, task)


@pytest.fixture
def run(tmp_path: Path) -> PluginRun:
    return PluginRun(tmp_path)


@pytest.fixture(autouse=True)
async def no_process_is_left():
    before = _family()
    yield
    assert _family() - before == set()


def _family() -> set[int]:
    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}


async def test_plugin_receives_the_task_and_its_configuration(run: PluginRun):
    assert await run("return f'{task.prompt} {task.attempt} {task.context.config[\"colour\"]}'") == "hello 1 red"


async def test_calls_of_the_plugin_go_through_the_daemon(tmp_path: Path):
    run = PluginRun(tmp_path, answers=("from the model",))
    code = """
        c = task.context
        c.storage.set('k', {'n': 1})
        a = c.llm.complete('question', system='be short')
        return [c.storage.get('k'), c.storage.get('none', 7), c.storage.keys(), c.storage.delete('k'),
                c.http.get_json('http://x/a', params={'q': 1}), a.text, a.model]
    """
    output = await run(code)
    assert " ".join(output.split()) == (
        '[ { "n": 1 }, 7, [ "k" ], true, { "ok": [ 1 ] }, "from the model", "offline" ]'
    )
    assert run.context.asked == [({"role": "system", "content": "be short"}, {"role": "user", "content": "question"})]


async def test_answer_of_a_model_is_returned_unchanged(tmp_path: Path):
    run = PluginRun(tmp_path, answers=("one", "two"))
    assert await run("task.context.llm.complete('a'); return task.context.llm.complete('b')") == "two"


async def test_threads_may_call_concurrently(run: PluginRun):
    code = """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: task.context.storage.set(f'k{n:03}', n), range(100)))
        return [len(task.context.storage.keys()), task.context.storage.get('k099')]
    """
    assert (await run(code)).split() == ["[", "100,", "99", "]"]


async def test_hooks_run_before_and_after_the_task(run: PluginRun):
    more = "def on_start(self): self.seen = ['start']\ndef on_stop(self): print('stopped', flush=True)"
    assert await run("return self.seen", more=more) == '[\n  "start"\n]'


FAILURES: dict[str, tuple[str, type[KairosError], str]] = {
    "raises": ("raise KeyError('lost')", PluginCrashed, "KeyError: 'lost'"),
    "exits": ("import sys; sys.exit(3)", PluginCrashed, "SystemExit: 3"),
    "dies": ("import os; os._exit(9)", PluginDied, "status 9"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", PluginDied, "SIGKILL"),
    "crashes in C": ("import ctypes; ctypes.string_at(0)", PluginDied, "SIGSEGV"),
    "eats memory": ("x = []\nwhile True: x.append('y' * 10**6)", PluginMemory, "128 MB"),
    "eats shared memory": ("import mmap; x = mmap.mmap(-1, 2**30); return 'x'", PluginCrashed, "OSError"),
    "returns nothing": ("pass", PluginReturnedNonsense, "returned nothing"),
    "returns an object": ("return object()", PluginReturnedNonsense, "returned a object"),
    "returns too much": ("return 'x' * 2_000_000", PluginReturnedNonsense, "at most"),
    "forges an answer": (
        "from kairos.plugins.base_plugin import Answer; return Answer('x', 'm', number=4)",
        PluginReturnedNonsense,
        "not from this task",
    ),
    "writes into the line": ("import os, sys; os.write(int(sys.argv[1]), b'}' * 99); return 'x'", PluginDied, "wrote"),
    "closes the line": ("import os, sys; os.close(int(sys.argv[1])); return 'x'", PluginDied, "status"),
    "refuses": ("raise PluginError('no such town')", PluginRefused, "no such town"),
    "refuses for now": ("raise PluginError('busy', retryable=True)", PluginRefusedForNow, "busy"),
    "calls what is not there": ("task.context.storage._calls('storage._values')", PluginCallInvalid, "no such method"),
    "asks with a number": ("task.context.llm.complete(7)", PluginCallInvalid, "must be a text"),
    "sends what is no JSON": ("task.context.storage.set('k', {1, 2})", PluginCrashed, "TypeError"),
    "asks a model": ("return task.context.llm.complete('x')", PluginRefused, "calls a model"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_of_a_plugin_has_a_specific_error(run: PluginRun, failure: str):
    code, kind, message = FAILURES[failure]
    with pytest.raises(kind, match=message) as caught:
        await run(code)
    assert type(caught.value) is kind


async def test_cpu_time_is_limited(tmp_path: Path):
    with pytest.raises(PluginCpu, match="1 s of CPU time"):
        await PluginRun(tmp_path, ChildLimits(128, 1))("while True: pass")


async def test_plugin_can_catch_a_failed_call(run: PluginRun):
    code = """
        from kairos.plugins.base_plugin import CallFailed
        try:
            task.context.http.get_json('http://nowhere/')
        except CallFailed as error:
            return f'{error.code}: {error}'
    """
    assert await run(code) == "plugin_refused: P: it calls http://nowhere/, for which no reply was given"


@pytest.mark.parametrize(
    "waiting_code",
    [
        "import time; time.sleep(600)",
        "while True: pass",
        "import signal; signal.pause()",
        "task.context.llm.complete('x')",
    ],
)
async def test_cancelled_plugin_is_killed_with_its_processes(run: PluginRun, waiting_code: str):
    started = run.file.with_name("pids")
    code = f"""
        import os, pathlib, subprocess
        sleeper = subprocess.Popen(['sleep', '600'])
        pathlib.Path({str(started)!r}).write_text(f'{{os.getpid()}} {{sleeper.pid}}')
        {waiting_code}
    """
    run.context.llm.complete = _never  # type: ignore[method-assign]
    running = asyncio.create_task(run(code))
    pids = (await eventually(lambda: started.exists() and started.read_text())).split()
    began = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 5
    # A killed process may end a little later.
    await eventually(lambda: not any(_alive(int(pid)) for pid in pids), 5, "the plugin and its processes have ended")


async def _never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_plugin_that_dies_during_a_call_ends_the_task(run: PluginRun):
    """The model call would take minutes."""
    run.context.llm.complete = _never  # type: ignore[method-assign]
    code = """
        import os, threading
        threading.Timer(0.3, os._exit, [7]).start()
        task.context.llm.complete('x')
    """
    with pytest.raises(PluginDied, match="status 7"):
        await run(code)


async def test_output_of_the_plugin_is_logged_within_limits(run: PluginRun, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "kairos.plugins.P")
    code = f"""
        import sys
        print('to stdout')
        print('and here', file=sys.stderr)
        task.context.log.warning('by the log')
        for n in range({MAX_LINES} * 3): print(n)
        sys.stdout.write('x' * 5_000_000)
        return 'done'
    """
    assert await run(code) == "done"
    lines = [record.getMessage() for record in caplog.records]
    assert {"to stdout", "and here", "by the log"} <= set(lines)
    assert len(lines) <= MAX_LINES + 5
    assert any(record.levelno == logging.WARNING and record.getMessage() == "by the log" for record in caplog.records)


async def test_environment_contains_no_secrets_of_the_daemon(run: PluginRun, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in await run("import os; return dict(os.environ)")


async def test_traceback_of_the_plugin_is_logged(run: PluginRun, caplog: pytest.LogCaptureFixture):
    with pytest.raises(PluginCrashed):
        await run("return {}['missing']")
    assert 'File "' in caplog.text
    assert "KeyError: 'missing'" in caplog.text
