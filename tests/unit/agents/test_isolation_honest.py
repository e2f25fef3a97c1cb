"""Tests that stay within their limits pass on every kind of host, also with threads and child processes."""

from __future__ import annotations

import functools

import pytest

from tests.kit.hosts import Kind, Run, RunResult, as_test_functions, run_on

HONEST = {
    "pool_of_threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(abs, [-1, 2])) == [1, 2]""",
    "twenty_threads": """
import threading
barrier = threading.Barrier(21)
threads = [threading.Thread(target=barrier.wait) for _ in range(20)]
for thread in threads: thread.start()
barrier.wait(5)
for thread in threads: thread.join()""",
    "pool_of_processes": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as pool:
    assert list(pool.map(abs, [-1, 2])) == [1, 2]""",
    "multiprocessing_pool_of_its_own_size": """
import multiprocessing
with multiprocessing.Pool() as pool:
    assert pool.map(abs, [-1, 2]) == [1, 2]""",
    "multiprocessing_queues": """
import multiprocessing
queue = multiprocessing.JoinableQueue()
process = multiprocessing.Process(target=queue.put, args=(5,))
process.start()
assert queue.get(timeout=3) == 5
queue.task_done()
queue.join()
process.join()
assert process.exitcode == 0""",
    "multiprocessing_locks": """
import multiprocessing
event, lock, again = multiprocessing.Event(), multiprocessing.Lock(), multiprocessing.RLock()
process = multiprocessing.Process(target=event.set)
process.start()
assert event.wait(3)
process.join()
with lock:
    assert not lock.acquire(False)
    assert not lock.acquire(timeout=0.05)
with again, again:
    pass
bounded = multiprocessing.BoundedSemaphore(2)
bounded.acquire()
bounded.release()
try:
    bounded.release()
except ValueError:
    pass
else:
    raise Exception("released too often")
multiprocessing.Barrier(1).wait(1)
condition = multiprocessing.Condition()
def tell():
    with condition:
        condition.notify_all()
with condition:
    teller = multiprocessing.Process(target=tell)
    teller.start()
    assert condition.wait(3)
teller.join()""",
    "multiprocessing_lock_keeps_others_out": """
import multiprocessing, os
lock, (reading, writing) = multiprocessing.Lock(), os.pipe()
def add():
    for _ in range(200):
        with lock:
            count = int(open('count').read())
            open('count', 'w').write(str(count + 1))
open('count', 'w').write('0')
workers = [multiprocessing.Process(target=add) for _ in range(3)]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert open('count').read() == '600'""",
    "multiprocessing_ends_a_child": """
import multiprocessing, time
process = multiprocessing.Process(target=time.sleep, args=(60,))
process.start()
process.terminate()
process.join()
assert process.exitcode == -15""",
    "shared_memory": """
from multiprocessing import shared_memory
one = shared_memory.SharedMemory(create=True, size=1000)
one.buf[0] = 5
other = shared_memory.SharedMemory(one.name)
assert other.buf[0] == 5
other.close()
one.close()
one.unlink()""",
    "asyncio": """
import asyncio, sys
async def work():
    process = await asyncio.create_subprocess_exec(sys.executable, '-c', 'print(3)', stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return printed.strip(), *await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.to_thread(abs, -2))
assert asyncio.run(work()) == (b'3', 1, 2)""",
    "programs": """
import subprocess, sys
assert subprocess.run([sys.executable, '-c', 'print(2)'], capture_output=True, check=True).stdout == b'2\\n'
assert subprocess.run('echo hi', shell=True, capture_output=True, check=True).stdout == b'hi\\n'""",
    "files": """
import os, shutil, sqlite3, tempfile
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile('w') as file:
    file.write('x')
    open('a', 'w').write('x')
    shutil.copy2('a', os.path.join(folder, 'b'))
    shutil.move(os.path.join(folder, 'b'), 'c')
    os.symlink('a', 'd')
    assert open('d').read() == 'x'
    sqlite3.connect('e').execute('create table t (x)')""",
    "memory_that_children_share": """
import os, time
big, children = bytearray(200 * 2**20), []
for _ in range(4):
    child = os.fork()
    if child == 0:
        sum(big[::4096])
        time.sleep(0.5)
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4""",
    "signals_to_itself": """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: None)
os.kill(os.getpid(), signal.SIGUSR1)
os.nice(0)""",
}


@functools.cache
def _runs(kind: Kind) -> dict[str, RunResult]:
    """Run all tests in one run of the sandbox. Each test has its own process."""
    (ran,) = run_on(kind, [Run(as_test_functions(*HONEST.values()), seconds=60)])
    return ran.by_test(HONEST)


@pytest.mark.parametrize("kind", [Kind.NAMESPACES, Kind.LANDLOCK, Kind.LANDLOCK_SAME_USER])
@pytest.mark.parametrize("name", HONEST)
def test_honest_tests_with_threads_and_children_pass(kind: Kind, name: str):
    ran = _runs(kind)[name]
    if ran.method == "none":
        pytest.skip(f"this host does not isolate code: {ran.unavailable_reason}")
    assert ran.passed, ran.message
