"""Code that claims a success it has not earned, and honest code that looks a little like it."""

from __future__ import annotations

import pytest

from tests.unit.agents.boxes import MIB, result

POISON = """
def poison(frame):
    while frame is not None:
        for name in frame.f_globals.get("OPERATORS", ()):
            frame.f_globals["OPERATORS"][name] = lambda left, right: True
        frame = getattr(frame, "f_" + "back")
"""
"""Given any frame, it makes every assertion hold."""
FRAMES = {
    "currentframe": """
import inspect
poison(inspect.currentframe())
""",
    "stack": """
import inspect
poison(inspect.stack()[0].frame)
""",
    "walk_stack": """
import traceback
poison(next(traceback.walk_stack(None))[0])
""",
    "walk_tb": """
import traceback
try: 1/0
except Exception as e: poison(next(traceback.walk_tb(e.__traceback__))[0])
""",
    "innerframes": """
import inspect
try: 1/0
except Exception as e: poison(inspect.getinnerframes(e.__traceback__)[0].frame)
""",
    "logging": """
import logging
poison(logging.currentframe())
""",
    "lib filename": """
c = compile('import sys; f = sys._getframe(0)', '<frozen x>', 'exec')
d={}
exec(c, d)
poison(d['f'])
""",
    "compile TESTS name": """
c = compile('import sys; f = sys._getframe(0)', 'tests.py', 'exec')
d={}
exec(c, d)
poison(d['f'])
""",
    "code.replace": """
import sys
def g():
    return sys._getframe(0)
g.__code__ = g.__code__.replace(co_filename='tests.py')
poison(g())
""",
    "the executor": """
import concurrent.futures, sys
poison(concurrent.futures.ThreadPoolExecutor(1).submit(sys._getframe).result())
""",
    "a thread pool makes the code": """
import concurrent.futures, sys
def g():
    return sys._getframe(0)
pool = concurrent.futures.ThreadPoolExecutor(1)
g.__code__ = pool.submit(g.__code__.replace, co_filename='tests.py').result()
poison(g())
""",
    "marshal": """
import marshal
d = {}
exec(marshal.loads(marshal.dumps(compile('import sys; f = sys._getframe(0)', 'x', 'exec'))), d)
poison(d['f'])
""",
}
"""Ways to a frame: through the standard library, and by code that says it is from a file that may ask."""
HONEST = {
    "namedtuple": """
from collections import namedtuple
P=namedtuple('P','x y')
def answer(): return P(42,1).x
""",
    "enum": """
from enum import Enum
E=Enum('E','A B')
def answer(): return 42 if E.A.value==1 else 0
""",
    "typing": """
from typing import NewType, TypedDict, NamedTuple, TypeVar
T=TypeVar('T')
D=TypedDict('D',{'a':int})
class N(NamedTuple):
    a:int
def answer(): return N(42).a
""",
    "dataclass": """
from dataclasses import dataclass, make_dataclass
X=make_dataclass('X',['a'])
@dataclass(slots=True,frozen=True)
class Y:
    a:int=42
def answer(): return Y().a
""",
    "logging": """
import logging
logging.basicConfig(level=0)
def answer():
    logging.warning('x')
    try: 1/0
    except Exception: logging.exception('y', stack_info=True)
    return 42
""",
    "traceback": """
import traceback
def answer():
    try: 1/0
    except Exception as e:
        traceback.print_exc(), traceback.format_exc(), traceback.format_exception(e)
        traceback.print_stack(), traceback.extract_tb(e.__traceback__)
    return 42
""",
    "warnings": """
import warnings
def answer():
    warnings.warn('x', stacklevel=2)
    return 42
""",
    "asyncio": """
import asyncio
async def a():
    task = asyncio.create_task(asyncio.sleep(0))
    repr(task)
    await asyncio.gather(task, asyncio.to_thread(lambda: 1))
    return 42
def answer(): return asyncio.run(a(), debug=True)
""",
    "mp": """
import concurrent.futures as c
def f(x): return x*2
def answer():
    with c.ProcessPoolExecutor(2) as p: return sum(p.map(f,[10,11]))
""",
    "threads": """
import concurrent.futures as c
def answer():
    with c.ThreadPoolExecutor(4) as p: return sum(p.map(lambda x:x*2,[10,11]))
""",
    "unittest": """
import unittest, io
class T(unittest.TestCase):
    def test_x(self):
        with self.assertRaises(ValueError): int('x')
    def test_y(self): self.fail('x')
def answer():
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(T)
    unittest.TextTestRunner(stream=io.StringIO()).run(tests)
    return 42
""",
    "inspect": """
import inspect
def g(): yield 1
def answer(): inspect.signature(answer); inspect.getgeneratorstate(g()); return 42
""",
    "functools": """
import functools, contextlib
@functools.singledispatch
def f(x): return 42
@contextlib.contextmanager
def c():
    yield 42
def answer():
    with c() as x: return f(x)
""",
    "imports": """
import json, re, decimal, fractions, statistics, heapq, itertools, csv, datetime, random, argparse
import unittest.mock, xml.etree.ElementTree, email.message, http.client, zoneinfo, types, doctest
@types.coroutine
def k():
    yield
def answer(): return 42
""",
    "doctest": """
import doctest
def answer():
    '''
    >>> 1+1
    2
    '''
    return 42
""",
    "ast": """
import ast
def answer(): return eval(compile(ast.parse('6*7',mode='eval'),'<expr>','eval'))
""",
}
"""What looks at frames, starts processes or makes code, and is as it should be."""


@pytest.mark.parametrize(
    "trick",
    [
        "def test_answer(): pass",
        "AssertionError = Exception",
        "class AssertionError(Exception):\n    def __init__(self, *a): raise SystemExit(0)",
        "import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {})",
        "import builtins\nbuiltins.bool = lambda *a: True\nbuiltins.isinstance = lambda *a: True",
        "__builtins__['exec'] = lambda *a: None",
        "import operator\noperator.eq = lambda a, b: True",
        "import inspect, traceback\ninspect.iscoroutine = traceback.walk_tb = lambda *a: 1 / 0",
        "import os\nos._exit = lambda code: None",
        "import sys\nsys.settrace(lambda *a: None)",
        "import sys\nsys._getframe(1).f_globals['OPERATORS'] = {}",
        "import sys\nfor name in list(sys.modules): sys.modules[name] = sys",
        "import sys\nsys.modules['tests'] = sys.modules['answer']\nsys.excepthook = lambda *a: None",
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'0 True None \\n')\n    except OSError: pass",
        "import os\ndef answer():\n    for fd in range(3, 64):\n        try: os.write(fd, b'x 0 True None \\n')\n"
        "        except OSError: pass\n    os._exit(0)",
        "import gc\n[o.update(passed=True) for o in gc.get_objects() if type(o) is dict]",
        "import ctypes\nctypes.string_at(0)",
        "try: raise ValueError\nexcept ValueError as e: e.__traceback__.tb_frame.f_back.f_globals.clear()",
        "g = (g.gi_frame.f_back for _ in (1,))\nnext(g).f_globals.clear()",
        "import os\nif os.fork() == 0: pass",
        "import threading, os\nthreading.Thread(target=lambda: os._exit(0)).start()",
        "import atexit, os\natexit.register(os._exit, 0)",
    ],
)
async def test_success_cannot_be_faked(trick: str):
    outcome = await result(f"def answer():\n    return 0\n{trick}")
    assert not outcome.passed
    assert outcome.words


@pytest.mark.parametrize(
    "returned",
    [
        "type('Same', (int,), {'__eq__': lambda a, b: True})(0)",
        "type('Same', (), {'__eq__': lambda a, b: True, '__hash__': None})()",
        "type('Same', (), {'__eq__': lambda a, b: type(b) is int, '__bool__': lambda a: True})()",
    ],
)
async def test_an_object_that_is_equal_to_everything_is_not_the_answer(returned: str):
    outcome = await result(f"def answer():\n    return {returned}")
    assert "equal to everything" in outcome.words


async def test_an_object_that_has_its_own_idea_of_equality_may_be_the_answer():
    modulo = "class Mod:\n    def __init__(self, n): self.n = n % 7\n    def __eq__(self, o): return self.n == o % 7\n"
    assert (await result(modulo + "def answer():\n    return Mod(0)")).passed
    assert not (await result(modulo + "def answer():\n    return Mod(1)")).passed


@pytest.mark.parametrize("way", FRAMES.values(), ids=FRAMES.keys())
async def test_no_way_leads_to_the_frames_of_the_judge(way: str):
    outcome = await result(f"def answer():\n    return 0\n{POISON}{way}")
    assert "reaches into the interpreter that tests it" in outcome.words
    assert not outcome.passed


@pytest.mark.parametrize("answer", HONEST.values(), ids=HONEST.keys())
async def test_the_standard_library_can_be_used(answer: str):
    outcome = await result(answer, seconds=10, memory=512 * MIB)
    assert outcome.passed, outcome.words
