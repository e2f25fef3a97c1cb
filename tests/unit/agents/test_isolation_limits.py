"""Limits apply to all processes of the sandbox together, however they were started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kairos.agents.checks.sandbox.process_tree import ProcessTree, ResourceMonitor, TotalLimits
from tests.kit.hosts import MIB, Kind, Run, as_test_functions, run_on

ISOLATING = [Kind.NAMESPACES, Kind.LANDLOCK, Kind.LANDLOCK_SAME_USER]
FIVE_CHILDREN = """
import mmap, os, time
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        try:
            {leave}
            {take}
            open('took', 'a').write('x')
            time.sleep(30)
        finally:
            os._exit(0)
    children.append(child)
end = time.monotonic() + 8
while time.monotonic() < end and not (os.path.exists('took') and os.path.getsize('took') == 5):
    time.sleep(0.05)
time.sleep(0.5)
"""
TAKE = "big = bytearray(300 << 20)"
MEMORY = {
    "children": FIVE_CHILDREN.format(leave="pass", take=TAKE),
    "sessions_of_their_own": FIVE_CHILDREN.format(leave="os.setsid()", take=TAKE),
    "daemons": FIVE_CHILDREN.format(leave="os.setsid()\n            if os.fork(): os._exit(0)", take=TAKE),
    "hard_to_look_into": FIVE_CHILDREN.format(leave="os.umask(0o777)", take=TAKE),
    "shared_mapping": FIVE_CHILDREN.format(
        leave="pass", take="m = mmap.mmap(-1, 300 << 20); [m.__setitem__(at, 1) for at in range(0, 300 << 20, 4096)]"
    ),
}
DISK = {
    "many_files": "for n in range(20):\n    open(str(n), 'wb').write(bytes(8 << 20))",
    "files_without_a_name": """
import os, time
kept = []
for n in range(20):
    kept.append(open('f', 'w+b'))
    os.unlink('f')
    kept[-1].write(bytes(8 << 20))
    kept[-1].flush()
time.sleep(1)""",
    "files_in_a_closed_folder": """
import os, time
for n in range(20):
    os.makedirs(f'd{n}')
    open(f'd{n}/f', 'wb').write(bytes(8 << 20))
    os.chmod(f'd{n}', 0)
time.sleep(1)""",
}
BOMBS = {
    "forks": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "threads": "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=(20,)).start()",
    "sessions": "import os\nwhile True:\n    try:\n        os.fork() or os.setsid()\n    except OSError:\n        pass",
}


@pytest.mark.parametrize("kind", ISOLATING)
@pytest.mark.parametrize("name", MEMORY)
def test_five_children_with_300_mb_each_exceed_a_limit_of_512_mb(kind: Kind, name: str):
    (ran,) = run_on(kind, [Run(as_test_functions(MEMORY[name]), seconds=15, memory=512 * MIB)])
    _skip_without_isolation(ran.method, ran.unavailable_reason)
    assert not ran.passed
    assert "more than 512 MB of memory" in ran.message


@pytest.mark.parametrize("kind", ISOLATING)
@pytest.mark.parametrize("name", DISK)
def test_size_of_files_is_limited(kind: Kind, name: str):
    (ran,) = run_on(kind, [Run(as_test_functions(DISK[name]), seconds=15)])
    _skip_without_isolation(ran.method, ran.unavailable_reason)
    assert not ran.passed
    assert "more than 64 MB" in ran.message or "OSError" in ran.message or "No space left" in ran.message


@pytest.mark.parametrize("kind", ISOLATING)
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_ended_and_fails_only_its_own_test(kind: Kind, name: str):
    began = time.monotonic()
    (ran,) = run_on(kind, [Run(f"{as_test_functions(BOMBS[name])}\ndef test_next():\n    pass", seconds=6)])
    _skip_without_isolation(ran.method, ran.unavailable_reason)
    assert [passed for passed, _ in ran.results] == [False, True], ran.message
    assert time.monotonic() - began < 40
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sandbox.warden" not in left


def test_nothing_runs_where_the_host_cannot_isolate_code(open_folder: Path):
    proof = open_folder / "proof"
    (ran,) = run_on(Kind.NEITHER, [Run(as_test_functions(f"open({str(proof)!r}, 'w')"))])
    assert (ran.method, ran.results) == ("none", [])
    assert "Landlock" in ran.unavailable_reason
    assert not proof.exists()


def test_processor_time_of_all_processes_is_summed(tmp_path: Path):
    """Including processes that have ended."""
    spin = "for _ in range(3): os.fork()\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    top = subprocess.Popen([sys.executable, "-c", f"import os, time\nif os.fork(): time.sleep(60)\n{spin}"])
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    monitor = ResourceMonitor(
        ProcessTree(top.pid, proc), TotalLimits(1 << 40, 0.5, 1000, 1 << 40), str(tmp_path), in_memory=False
    )
    try:
        end, limit = time.monotonic() + 30, None
        while limit is None and time.monotonic() < end:
            limit = monitor.exceeded_limit()
            time.sleep(0.02)
        assert limit is not None
        assert "0.5 s of processor time" in limit
        monitor.tree.kill()
        assert not list(monitor.tree.processes())
    finally:
        os.close(proc)
        top.kill()
        top.wait()


def test_ending_one_pair_of_processes_does_not_end_the_next(tmp_path: Path):
    """The monitor may still be ending the first pair when the second one starts."""
    slow = """
import contextlib, os, time
from kairos.agents.checks.sandbox import process_tree

class SlowTree(process_tree.ProcessTree):
    def kill(self):
        open("ending", "w").close()
        time.sleep(1)
        super().kill()

limit_pipe = os.pipe()
turn = process_tree.ProcessLock()
first = os.fork()
if first:
    limits = process_tree.TotalLimits(1 << 40, 1000, 1, 1 << 40)
    monitor = process_tree.ResourceMonitor(SlowTree(first, os.open("/proc", os.O_RDONLY)), limits, ".", in_memory=False)
    raise SystemExit(os.waitstatus_to_exitcode(process_tree.enforce_limits(monitor, limit_pipe[1], turn)))
process_tree.connect_monitor(limit_pipe[0], turn)
pair = [os.fork() or time.sleep(60) for _ in range(2)]
while not os.path.exists("ending"):
    time.sleep(0.01)
with process_tree.starting_processes():
    next_one = os.fork() or time.sleep(1.5) or os._exit(0)
limit = process_tree.reported_limit()
ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (*pair, next_one)]
print(*ended, limit, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", slow], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "-9 -9 0 None\n"


def test_ended_process_uses_no_memory(tmp_path: Path):
    """A process may end after it was listed; its shared pages would then count in full."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    tree = ProcessTree(os.getpid(), proc)
    monitor = ResourceMonitor(tree, TotalLimits(1, 1, 1, 1), str(tmp_path), in_memory=False)
    with subprocess.Popen([sys.executable, "-c", "input(0)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.read(1) == b"0", "the child runs"
        listed = tree.process(child.pid)
        assert listed
        assert monitor._proportional_bytes(listed) > 0
        child.communicate(b"\n", timeout=20)
    assert listed.resident_bytes > 0
    assert monitor._proportional_bytes(listed) == 0
    os.close(proc)


def _skip_without_isolation(way: str, missing: str) -> None:
    if way == "none":
        pytest.skip(f"this host does not isolate code: {missing}")
