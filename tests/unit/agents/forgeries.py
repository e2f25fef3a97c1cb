# ruff: noqa: E501 - each attempt is one line of a table
"""Code that fakes a success, and honest code that resembles it."""

from __future__ import annotations

POISON = """
def poison(frame):
    while frame is not None:
        for name in ("OPERATORS", "check_assertion", "@check", "_meet"):
            if name in frame.f_globals:
                frame.f_globals[name] = {} if name == "OPERATORS" else lambda *a: None
        frame = getattr(frame, "f_" + "back")
"""
"""Would make every assertion hold if it reached a frame of the process that runs the tests."""
FRAMES = {
    "currentframe": "import inspect\npoison(inspect.currentframe())",
    "stack": "import inspect\npoison(inspect.stack()[0].frame)",
    "walk_stack": "import traceback\npoison(next(traceback.walk_stack(None))[0])",
    "walk_tb": "import traceback\ntry: 1/0\nexcept Exception as e: poison(next(traceback.walk_tb(e.__traceback__))[0])",
    "logging": "import logging\npoison(logging.currentframe())",
    "code that claims to be a test's": """
c = compile('import sys; f = sys._getframe(0)', 'tests.py', 'exec')
d = {}
exec(c, d)
poison(d['f'])
""",
    "the executor": """
import concurrent.futures, sys
poison(concurrent.futures.ThreadPoolExecutor(1).submit(sys._getframe).result())
""",
    "marshal": """
import marshal
d = {}
exec(marshal.loads(marshal.dumps(compile('import sys; f = sys._getframe(0)', 'x', 'exec'))), d)
poison(d['f'])
""",
    "a signal handler": """
import signal, time
def handler(number, frame): poison(frame)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def answer():
    time.sleep(0.02)
    return 0
""",
    "a trace function": "import sys\nsys.settrace(lambda frame, *a: poison(frame))",
    "a profile function": "import threading\nthreading.setprofile(lambda frame, *a: poison(frame))",
    "a collector's callback": "import gc, sys\ngc.callbacks.append(lambda *a: poison(sys._getframe()))\ngc.collect()",
    "an audit hook": "import sys\nsys.addaudithook(lambda *a: poison(sys._getframe()))",
    "the current frames": "import sys\nfor f in sys._current_frames().values(): poison(f)",
}
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
"""Legitimate code that inspects frames, starts processes or compiles code."""

INTERPRETER = {
    "nothing": "def test_answer(): pass",
    "AssertionError is another": "AssertionError = Exception",
    "AssertionError ends the program": "class AssertionError(Exception):\n    def __init__(self, *a): raise SystemExit(0)",
    "the builtin AssertionError": "import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {})",
    "builtins are true": "import builtins\nbuiltins.bool = lambda *a: True\nbuiltins.isinstance = lambda *a: True",
    "exec does nothing": "__builtins__['exec'] = lambda *a: None",
    "operator.eq": "import operator\noperator.eq = lambda a, b: True",
    "inspect and traceback": "import inspect, traceback\ninspect.iscoroutine = traceback.walk_tb = lambda *a: 1 / 0",
    "json is another": "import json\njson.dumps = lambda *a, **k: '[\"=\",[[],[],[],[]],42]'\njson.loads = lambda *a: 42",
    "os._exit": "import os\nos._exit = lambda code: None",
    "sys.settrace": "import sys\nsys.settrace(lambda *a: None)",
    "globals of the frame below": "import sys\nsys._getframe(1).f_globals['OPERATORS'] = {}",
    "every module is sys": "import sys\nfor name in list(sys.modules): sys.modules[name] = sys",
    "tests is another module": "import sys\nsys.modules['tests'] = sys.modules['answer']\nsys.excepthook = lambda *a: None",
    "reports into every file": "import os\nfor fd in range(3, 64):\n"
    '    try: os.write(fd, b\'{"test": 0, "passed": true, "message": "", "line": null}\\n\')\n    except OSError: pass',
    "reports while tested": "import os\ndef answer():\n    for fd in range(3, 64):\n"
    '        try: os.write(fd, b\'{"test": 0, "passed": true, "message": ""}\\n\')\n'
    "        except OSError: pass\n    os._exit(0)",
    "all dicts have passed": "import gc\n[o.update(passed=True) for o in gc.get_objects() if type(o) is dict]",
    "ctypes": "import ctypes\nctypes.string_at(0)",
    "globals through a traceback": "try: raise ValueError\n"
    "except ValueError as e: e.__traceback__.tb_frame.f_back.f_globals.clear()",
    "globals through a generator": "g = (g.gi_frame.f_back for _ in (1,))\nnext(g).f_globals.clear()",
    "fork at loading": "import os\nif os.fork() == 0: pass",
    "a thread ends the program": "import threading, os\nthreading.Thread(target=lambda: os._exit(0)).start()",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)",
    "unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None",
    "math": "import math\nmath.isclose = lambda *a, **k: True",
    "the peer's tables": "import gc\nfor o in gc.get_objects():\n"
    "    if type(o).__name__ in ('Peer', 'Codec'): o.__dict__.update(trusted=True, failed_assertion=None)",
    "a forged result": "import gc, socket\ndef answer():\n    for o in gc.get_objects():\n"
    "        if isinstance(o, socket.socket): o.sendall(b'\\0\\0\\0\\x16[\"=\",[[],[],[],[]],41]')\n    return 41",
    "a forged request for the builtins": "import gc, socket\ndef answer():\n    for o in gc.get_objects():\n"
    "        if type(o).__name__ == 'Peer': o.request('builtin', 'exec', ('import os; os._exit(0)',), {})\n    return 0",
    "a class made by the tests' type": "import gc\ndef answer():\n    for o in gc.get_objects():\n"
    "        if type(o).__name__ == 'Peer': return o.request('call', type, ('X', (), {'__eq__': bool}), {})()\n    return 0",
    "a class made through the other side": "import gc\ndef answer():\n    for o in gc.get_objects():\n"
    "        if type(o).__name__ == 'Peer': return o.request('special', type, '__call__', ('X', (), {}), {})\n    return 0",
    "sys.exit at the call": "import sys\ndef answer(): sys.exit(0)",
    "os._exit at the call": "import os\ndef answer(): os._exit(0)",
    "KeyboardInterrupt": "def answer(): raise KeyboardInterrupt",
    "GeneratorExit": "def answer(): raise GeneratorExit",
    "StopIteration": "def answer(): raise StopIteration(42)",
    "a kill of the parent's group": "import os, signal\ndef answer():\n    os.kill(os.getppid(), signal.SIGKILL)\n    return 0",
    "a kill of all": "import os, signal\ndef answer():\n    for p in range(2, 50):\n        if p != os.getpid():\n"
    "            try: os.kill(p, signal.SIGKILL)\n            except OSError: pass\n    return 0",
    "the memory of the tests' process": "import os, glob\ndef answer():\n    for p in range(2, 99):\n"
    "        try: open(f'/proc/{p}/mem', 'r+b').read(1)\n        except OSError: continue\n"
    "        if p != os.getpid(): return 42\n    return 0",
    "ptrace": "def answer():\n    import ctypes, os\n    c = ctypes.CDLL(None)\n    for p in range(2, 99):\n"
    "        if p != os.getpid() and c.ptrace(16, p, 0, 0) == 0: return 42\n    return 0",
    "the tests in our memory": "def answer():\n    import gc\n    needle = ''.join(reversed(')(rewsna tressa'))\n"
    "    for o in gc.get_objects():\n"
    "        for x in (o.values() if type(o) is dict else o if type(o) in (list, tuple) else ()):\n"
    "            if type(x) is str and needle in x or type(x) is bytes and needle.encode() in x: return 42\n    return 0",
}
"""Manipulations of the interpreter that the code runs in. The tests run in another one."""

SAME = "class Same:\n    __eq__ = lambda self, other: True\n    __hash__ = None\n"
FALSE_ANSWERS = {
    "mock.ANY": "from unittest.mock import ANY\ndef answer(): return ANY",
    "MagicMock": "from unittest.mock import MagicMock\ndef answer():\n    m = MagicMock()\n"
    "    m.__eq__.return_value = True\n    return m",
    "Mock": "from unittest.mock import MagicMock as answer",
    "equal to all": SAME + "def answer(): return Same()",
    "equal to integers": "class E:\n    def __eq__(self, o): return type(o) is int\ndef answer(): return E()",
    "equal to this one": "class E:\n    def __eq__(self, o): return o == 42\ndef answer(): return E()",
    "a subclass of int": "class E(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
    "def answer(): return E(0)",
    "a subclass of int that holds 0": "class E(int): pass\ndef answer(): return E(0)",
    "int with a content of its own": "class E(int):\n    __int__ = __index__ = lambda self: 42\ndef answer(): return E(0)",
    "not unequal": "class E(int):\n    def __ne__(self, o): return False\ndef answer(): return E(0)",
    "a metaclass": "class M(type):\n    def __eq__(self, o): return True\n    __hash__ = type.__hash__\n"
    "class E(metaclass=M): pass\ndef answer(): return E",
    "partialmethod": "import functools\nclass E: pass\nE.__eq__ = functools.partialmethod(lambda self, o: True)\n"
    "def answer(): return E()",
    "a callable object as __eq__": "class C:\n    def __call__(self, *a): return True\n"
    "class E: __eq__ = C()\ndef answer(): return E()",
    "a builtin as __eq__": "class E: __eq__ = staticmethod(bool)\ndef answer(): return E()",
    "a property as __eq__": "class E:\n    @property\n    def __eq__(self): return lambda o: True\ndef answer(): return E()",
    "a slot of operator": "import operator\nclass E: __eq__ = operator.methodcaller('__bool__')\n"
    "def answer(): return E()",
    "__eq__ returns a liar": "class T:\n    def __bool__(self): return True\n"
    "class E:\n    def __eq__(self, o): return T()\ndef answer(): return E()",
    "__class__ is int": "class E:\n    __class__ = property(lambda self: int)\n    def __eq__(self, o): return True\n"
    "def answer(): return E()",
    "__getattribute__": "class E:\n    def __getattribute__(self, name): return lambda *a: True\ndef answer(): return E()",
    "a reflected comparison": "class E(int):\n    def __eq__(self, o): return NotImplemented if o is self else True\n"
    "def answer(): return E(41)",
    "a cell": "import types\nclass E(types.SimpleNamespace):\n    def __eq__(self, o): return True\n"
    "def answer(): return E()",
    "a dataclass": "import dataclasses\n@dataclasses.dataclass(eq=False)\nclass E:\n    def __eq__(self, o): return True\n"
    "def answer(): return E()",
    "a weak proxy": "import weakref\n" + SAME + "s = Same()\ndef answer(): return weakref.proxy(s)",
    "a float that is not": "class E(float):\n    def __eq__(self, o): return True\n    def __hash__(self): return 42\n"
    "def answer(): return E('nan')",
    "a decimal's subclass": "import decimal\nclass E(decimal.Decimal):\n    def __eq__(self, o): return True\n"
    "def answer(): return E(1)",
    "a class called Decimal": "class Decimal:\n    def __eq__(self, o): return True\nDecimal.__module__ = 'decimal'\n"
    "def answer(): return Decimal()",
    "a class called int": "E = type('int', (), {'__eq__': lambda s, o: True, '__module__': 'builtins'})\n"
    "def answer(): return E()",
    "an exception": "class E(Exception):\n    def __eq__(self, o): return True\ndef answer(): return E()",
    "a function with an equality": "class F:\n    def __call__(self): return self\n    def __eq__(self, o): return True\n"
    "answer = F()",
    "an instance of the function's own class": "class answer:\n    def __eq__(self, o): return True",
    "a module": "import types\nclass M(types.ModuleType):\n    def __eq__(self, o): return True\ndef answer(): return M('m')",
    "a union": "class M(type):\n    def __eq__(self, o): return True\n    def __or__(self, o): return self\n"
    "    __hash__ = type.__hash__\nclass E(metaclass=M): pass\ndef answer(): return E | 1",
}
"""Objects that are not 42 but compare equal to it."""
FALSE_RESULTS = {
    "a str": (
        "class E(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\ndef f(): return E('x')",
        "f() == 'yes'",
    ),
    "a bytes": ("class E(bytes):\n    def __eq__(self, o): return True\ndef f(): return E(b'x')", "f() == b'yes'"),
    "a list": ("class E(list):\n    def __eq__(self, o): return True\ndef f(): return E()", "f() == [1, 2]"),
    "a tuple": ("class E(tuple):\n    def __eq__(self, o): return True\ndef f(): return E()", "f() == (1, 2)"),
    "a dict": ("class E(dict):\n    def __eq__(self, o): return True\ndef f(): return E()", "f() == {'a': 1}"),
    "a set": ("class E(set):\n    def __eq__(self, o): return True\ndef f(): return E()", "f() == {1, 2}"),
    "a counter": (
        "import collections\nclass E(collections.Counter):\n    def __eq__(self, o): return True\ndef f(): return E()",
        "f() == {'a': 1}",
    ),
    "a deque": (
        "import collections\nclass E(collections.deque):\n    def __eq__(self, o): return True\n"
        "def f(): return list(E()) or E()",
        "f() == [1]",
    ),
    "within a list": (SAME + "def f(): return [1, Same()]", "f() == [1, 2]"),
    "within a tuple of lists": (SAME + "def f(): return (1, [Same()])", "f() == (1, [2])"),
    "within a dict": (SAME + "def f(): return {'a': {'b': Same()}}", "f() == {'a': {'b': 2}}"),
    "a key": (
        "class K:\n    def __eq__(self, o): return True\n    def __hash__(self): return hash('a')\n"
        "def f(): return {K(): 1}",
        "f() == {'a': 1}",
    ),
    "a member": (
        "class K:\n    def __eq__(self, o): return True\n    def __hash__(self): return hash(1)\ndef f(): return {K()}",
        "f() == {1}",
    ),
    "in a set": (
        "class K:\n    def __eq__(self, o): return True\n    def __hash__(self): return 1\ndef f(): return K()",
        "f() in {1, 2}",
    ),
    "in a list": (SAME + "def f(): return Same()", "f() in [1, 2]"),
    "swapped": (SAME + "def f(): return Same()", "5 == f()"),
    "in a chain": (SAME + "def f(): return Same()", "5 == f() == 5"),
    "not unequal": ("class E:\n    def __ne__(self, o): return False\ndef f(): return E()", "not (f() != 5)"),
    "a container of all": ("class C:\n    def __contains__(self, x): return True\ndef f(): return C()", "2 in f()"),
    "a container of integers": (
        "class C:\n    def __contains__(self, x): return type(x) is int\n"
        "    def __iter__(self): return iter([])\ndef f(): return C()",
        "2 in f()",
    ),
    "a list that contains all": (
        "class C(list):\n    def __contains__(self, x): return True\ndef f(): return C()",
        "2 in f()",
    ),
    "a tuple that contains all": (
        "class C(tuple):\n    def __contains__(self, x): return True\ndef f(): return C()",
        "2 in f()",
    ),
    "a mapping": (
        "class C(dict):\n    def __missing__(self, k): return C()\n    def __eq__(self, o): return True\n"
        "def f(): return C()",
        "f()['a']['b'] == 2",
    ),
    "always true": ("class T:\n    def __bool__(self): return True\ndef f(n): return T()", "f(4)"),
    "true and then false": (
        "class T:\n    def __bool__(self):\n        T.n = not getattr(T, 'n', False)\n        return T.n\n"
        "def f(n): return T()",
        "f(4) and not f(3)",
    ),
    "no difference": ("class N:\n    def __sub__(self, o): return 0.0\ndef f(): return N()", "abs(f() - 1.41) < 0.1"),
    "no difference to it": (
        "class N:\n    def __rsub__(self, o): return 0.0\ndef f(): return N()",
        "abs(1.41 - f()) < 0.1",
    ),
    "a difference that is nothing": (
        "class N:\n    def __sub__(self, o): return self\n    def __abs__(self): return 0\ndef f(): return N()",
        "abs(f() - 1.41) < 0.1",
    ),
    "a float without difference": (
        "class N(float):\n    def __sub__(self, o): return 0.0\ndef f(): return N(9)",
        "abs(f() - 1.41) < 0.1",
    ),
    "less and more than all": (
        "class N:\n    __lt__ = __gt__ = __le__ = __ge__ = lambda s, o: True\ndef f(): return N()",
        "0 < f() < 10 and f() >= 5",
    ),
    "an int less than all": (
        "class N(int):\n    __lt__ = __gt__ = __le__ = __ge__ = lambda s, o: True\ndef f(): return N(99)",
        "f() < 10",
    ),
    "no remainder": ("class N:\n    def __mod__(self, o): return 0\ndef f(): return N()", "f() % 7 == 0"),
    "starts with all": (
        "class S:\n    def startswith(self, x): return True\ndef f(): return S()",
        "f().startswith('Hello')",
    ),
    "a str that starts with all": (
        "class S(str):\n    def startswith(self, x): return True\ndef f(): return S()",
        "f().startswith('Hello')",
    ),
    "a subset of all": ("class S:\n    def issubset(self, x): return True\ndef f(): return S()", "f().issubset({1})"),
    "an instance of all": ("class E:\n    __class__ = int\ndef f(): return E()", "isinstance(f(), int)"),
    "instances are its own": (
        "class M(type):\n    def __instancecheck__(s, o): return True\n    def __subclasscheck__(s, o): return True\n"
        "class E(metaclass=M): pass\ndef f(): return E",
        "isinstance(5, f())",
    ),
    "the type": (
        "class M(type):\n    def __eq__(s, o): return True\n    __hash__ = type.__hash__\nclass E(metaclass=M): pass\n"
        "def f(): return E()",
        "type(f()) == int",
    ),
    "True": ("class E(int):\n    def __eq__(self, o): return True\ndef f(): return E(1)", "f() is True"),
    "abs": ("def f(): return 9\ndef abs(x): return 0", "abs(f() - 1.41) < 0.1"),
    "all": ("def f(x): return 0\ndef all(x): return True", "all(f(x) == x for x in (1, 2))"),
    "sorted": ("def f(x): return x\ndef sorted(x): return [1, 2]", "sorted(f([2, 9])) == [1, 2]"),
    "round": ("def f(): return 9\ndef round(*a): return 1.41", "round(f(), 2) == 1.41"),
    "any, max, min, sum, zip": (
        "def f(): return []\nany = lambda x: True\nmax = min = sum = lambda *a: 5\nzip = lambda *a: [(1, 1)]",
        "any(f()) and max(f(), default=0) == 5",
    ),
    "len": ("def f(): return []\ndef len(x): return 3", "len(f()) == 3"),
    "isinstance": ("def f(): return []\ndef isinstance(*a): return True", "isinstance(f(), str)"),
    "a module that is a class": (
        "def f(): return 9\nclass math:\n    isclose = staticmethod(lambda *a, **k: True)",
        "math.isclose(f(), 1.41)",
    ),
    "a module that is another": (
        "import math\nmath.isclose = lambda *a, **k: True\ndef f(): return 9",
        "math.isclose(f(), 1.41)",
    ),
    "a class called as the tests' import": (
        "class Decimal:\n    def __sub__(self, o): return 0\ndef f(): return Decimal()",
        "__import__('decimal').Decimal and abs(f() - 5) < 1",
    ),
    "StopIteration in map": ("def f(x): raise StopIteration", "all(map(lambda x: f(x) == x, [1, 2]))"),
    "a generator that ends all": ("def f(x):\n    yield from ()", "next(f(1)) == 1"),
    "a named content": (
        "E = type('E', (int,), {'__eq__': lambda s, o: True, '__hash__': lambda s: hash(5), 'real': 5})\n"
        "def f(): return E(0)",
        "f().real == 6",
    ),
    "a lying length": (
        "class L:\n    def __len__(self): return L2(3)\nclass L2(int):\n    def __eq__(self, o): return True\n"
        "def f(): return L()",
        "len(f()) == 5",
    ),
    "a lying text": (
        "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\n"
        "class L:\n    def __str__(self): return S('x')\ndef f(): return L()",
        "str(f()) == 'yes'",
    ),
    "a lying format": (
        "class S(str):\n    def __eq__(self, o): return True\nclass L:\n    def __format__(self, s): return S('x')\n"
        "def f(): return L()",
        "f'{f()}' == 'yes'",
    ),
    "a lying hash": (
        "class L:\n    def __hash__(self): return 5\n    def __eq__(self, o): return True\ndef f(): return L()",
        "{5: True}.get(f(), False)",
    ),
}
"""A function, and the assertion of the tests that it does not fulfil."""
