# ruff: noqa: E501, W291 - the code in the tables is as models write it
"""Honest code and honest tests of every kind, although they run in two processes."""

from __future__ import annotations

import textwrap

import pytest

from tests.unit.agents.boxes import MIB, boxed, result

CASES: dict[str, tuple[str, str]] = {}
CASES["a class and its operators"] = (
    """
class Stack:
    kind = 'lifo'
    def __init__(self, items=()): self.items = list(items)
    def push(self, x): self.items.append(x)
    def pop(self):
        if not self.items: raise IndexError('empty')
        return self.items.pop()
    @property
    def size(self): return len(self.items)
    @classmethod
    def of(cls, *xs): return cls(xs)
    @staticmethod
    def twice(x): return 2*x
    def __len__(self): return len(self.items)
    def __contains__(self, x): return x in self.items
    def __iter__(self): return iter(self.items)
    def __getitem__(self, i): return self.items[i]
    def __setitem__(self, i, v): self.items[i]=v
    def __eq__(self, o): return isinstance(o, Stack) and self.items == o.items
    def __hash__(self): return hash(tuple(self.items))
    def __repr__(self): return f'Stack({self.items})'
    def __bool__(self): return bool(self.items)
    def __add__(self, o): return Stack(self.items + (o.items if isinstance(o, Stack) else [o]))
    def __lt__(self, o): return len(self) < len(o)
    def __enter__(self): return self
    def __exit__(self, *a): self.items.clear(); return False
    def __call__(self, x): return x in self
""",
    """
s = Stack()
assert not s
s.push(1); s.push(2)
assert s
assert len(s) == 2 and s.size == 2
assert 1 in s
assert 5 not in s
assert list(s) == [1, 2]
assert s[0] == 1
s[0] = 9
assert s.items == [9, 2]
s.items.append(7)
assert s.pop() == 7
assert Stack.of(1,2) == Stack([1,2])
assert Stack.of(1,2) != Stack([1,3])
assert Stack.twice(4) == 8
assert repr(Stack([1])) == 'Stack([1])'
assert str(Stack([1])) == 'Stack([1])'
assert f'{Stack([1])}' == 'Stack([1])'
assert isinstance(s, Stack)
assert type(s) is Stack
assert type(s).__name__ == 'Stack'
assert s.__class__ is Stack
assert Stack.__name__ == 'Stack'
assert Stack.kind == 'lifo'
assert (Stack([1]) + 5).items == [1, 5]
assert (Stack([1]) + Stack([2])).items == [1, 2]
assert Stack([1]) < Stack([1,2])
assert max([Stack([1]), Stack([1,2])]).size == 2
assert {Stack([1]): 'a'}[Stack([1])] == 'a'
with s as t:
    assert t is s
assert s.size == 0
try:
    s.pop()
    assert False
except IndexError as e:
    assert str(e) == 'empty'
assert hasattr(s, 'push') and not hasattr(s, 'nope')
assert getattr(s, 'nope', 3) == 3
assert callable(s) and not s(3)
s.extra = 5
assert s.extra == 5
assert vars(s) == {'items': [], 'extra': 5}
""",
)
CASES["exceptions"] = (
    """
class MyError(Exception):
    def __init__(self, code): super().__init__(f'code {code}'); self.code = code
class Sub(MyError): pass
def f(x):
    if x == 1: raise MyError(7)
    if x == 2: raise Sub(8)
    if x == 3: raise ValueError('bad')
    if x == 4: raise KeyError('k')
    if x == 5: {}['zz']
    if x == 6: 1/0
    if x == 7: raise SystemExit(3)
    if x == 8:
        import json; json.loads('{')
    if x == 9:
        try: 1/0
        except ZeroDivisionError as e: raise ValueError('x') from e
    return x
""",
    """
import contextlib, json
try:
    f(1)
except MyError as e:
    assert e.code == 7 and str(e) == 'code 7' and isinstance(e, Exception)
try:
    f(2); assert False
except MyError as e:
    assert type(e) is Sub and e.code == 8
with contextlib.suppress(ValueError):
    f(3); assert False
try: f(4); assert False
except KeyError as e: assert e.args == ('k',)
try: f(5); assert False
except LookupError as e: assert e.args == ('zz',)
try: f(6); assert False
except ZeroDivisionError: pass
try: f(7); assert False
except SystemExit as e: assert e.code == 3
try: f(8); assert False
except json.JSONDecodeError as e: pass
try: f(9); assert False
except ValueError as e: assert isinstance(e.__cause__, ZeroDivisionError)
def raises(exc, fn, *a):
    try: fn(*a)
    except exc: return True
    return False
assert raises((MyError, KeyError), f, 1)
import unittest
tc = unittest.TestCase()
with tc.assertRaises(MyError) as ctx:
    f(1)
assert ctx.exception.code == 7
with tc.assertRaisesRegex(ValueError, 'bad'):
    f(3)
assert issubclass(Sub, MyError) and issubclass(MyError, Exception)
try:
    raise MyError(4)
except MyError as e:
    assert e.code == 4
""",
)
CASES["functions and objects that the tests pass"] = (
    """
def apply(f, x): return f(x)
def sort_by(xs, key): return sorted(xs, key=key)
def keep(xs, p): return [x for x in xs if p(x)]
def each(xs, cb):
    for x in xs: cb(x)
def compose(*fs):
    def inner(x):
        for f in reversed(fs): x = f(x)
        return x
    return inner
import functools
def memoize(fn):
    cache = {}
    @functools.wraps(fn)
    def w(*a):
        if a not in cache: cache[a] = fn(*a)
        return cache[a]
    w.cache = cache
    return w
def call_attr(o): return o.name + str(o.method(2))
def retry(fn, n, exc=Exception):
    for i in range(n):
        try: return fn()
        except exc: pass
    raise RuntimeError('gave up')
def set_salary(e): e.salary = 10
def read(f): return f.read()
def write(f): f.write('hello')
def total(it): return sum(it)
""",
    """
assert apply(lambda x: x + 1, 2) == 3
assert sort_by([3,1,2], key=lambda x: -x) == [3,2,1]
assert sort_by(['b','A'], key=str.lower) == ['A','b']
assert keep(range(5), lambda x: x % 2) == [1,3]
out = []
each([1,2], out.append)
assert out == [1,2]
assert compose(lambda x: x+1, lambda x: x*2)(5) == 11
calls = []
@memoize
def slow(x):
    '''doc'''
    calls.append(x)
    return x * 2
assert slow(2) == 4 and slow(2) == 4
assert calls == [2]
assert slow.__name__ == 'slow'
assert slow.__doc__ == 'doc'
assert slow.cache == {(2,): 4}
class T:
    name = 'n'
    def method(self, x): return x * 2
    @memoize
    def m(self, x): return x + 1
assert call_attr(T()) == 'n4'
assert T().m(3) == 4
from unittest.mock import Mock, MagicMock, call
m = Mock(return_value=5)
assert apply(m, 3) == 5
m.assert_called_once_with(3)
m = Mock(side_effect=[ValueError, ValueError, 7])
assert retry(m, 3) == 7
assert m.call_count == 3
class TestErr(Exception): pass
def bad(): raise TestErr('x')
try:
    retry(bad, 2, KeyError); assert False
except TestErr as e:
    assert str(e) == 'x'
try:
    retry(bad, 2, TestErr); assert False
except RuntimeError as e:
    assert str(e) == 'gave up'
from types import SimpleNamespace
from dataclasses import dataclass
@dataclass
class Emp:
    salary: int = 1
e = Emp()
set_salary(e)
assert e.salary == 10
e = SimpleNamespace()
set_salary(e)
assert e.salary == 10
import io
assert read(io.StringIO('abc')) == 'abc'
b = io.StringIO()
write(b)
assert b.getvalue() == 'hello'
assert total(x for x in range(4)) == 6
assert total({1:2,3:4}.values()) == 6
assert total(iter([1,2])) == 3
""",
)
CASES["containers that change"] = (
    """
def sort(xs): xs.sort()
def same(x): return x
def clear(d): d.clear()
def grow(m): m[0][0] = 9; m.append([7])
class Box:
    def __init__(self, items): self.items = items
    def total(self): return sum(self.items)
    def get(self): return self.items
class Node:
    def __init__(self, v, children=None): self.v, self.children, self.next = v, children or [], None
def depth(n): return 1 + max((depth(c) for c in n.children), default=0)
from collections import defaultdict, deque, Counter, OrderedDict
def graph():
    g = defaultdict(list); g['a'].append('b'); return g
def q(): return deque([1,2,3], maxlen=3)
def cnt(s): return Counter(s)
def od(): return OrderedDict(a=1)
def cyc():
    x = [1]; x.append(x); return x
def table(): return [[0]*2]*2
""",
    """
xs = [3,1,2]
assert sort(xs) is None
assert xs == [1,2,3]
assert same(xs) is xs
d = {'a': 1}
clear(d)
assert d == {}
m = [[1,2],[3]]
inner = m[0]
grow(m)
assert m == [[9,2],[3],[7]] and inner is m[0]
b = Box(xs)
xs.append(10)
assert b.total() == 16
assert b.get() is xs
b.get().append(1)
assert b.total() == 17
n = Node(1)
n.children.append(Node(2))
n.children[0].children.append(Node(3))
assert depth(n) == 3
a, c = Node(1), Node(2)
a.next = c
assert a.next is c and a.next.v == 2
g = graph()
assert g == {'a': ['b']} and g['zz'] == []
g['a'].append('c')
assert g['a'] == ['b','c']
from collections import deque, Counter, OrderedDict
assert q() == deque([1,2,3]) and q().maxlen == 3
assert cnt('aab') == {'a':2,'b':1} and cnt('aab').most_common(1) == [('a',2)]
assert type(od()) is OrderedDict and od() == {'a':1}
x = cyc()
assert x[1] is x and x[0] == 1
t = table()
t[0][0] = 1
assert t == [[1,0],[1,0]]
""",
)
CASES["values and the answer's own types"] = (
    r"""
import datetime, decimal, fractions, uuid, pathlib, enum, re, math
from collections import namedtuple
from dataclasses import dataclass, field
from typing import NamedTuple
P = namedtuple('P', 'x y')
class N(NamedTuple):
    a: int
    b: str = 'z'
class Color(enum.Enum):
    RED = 1
    GREEN = 2
class Prio(enum.IntEnum):
    LOW = 1
    HIGH = 2
class S(str, enum.Enum):
    A = 'a'
class Fl(enum.Flag):
    R = 1
    W = 2
@dataclass(order=True)
class D:
    a: int
    b: list = field(default_factory=list)
def v(k): return {
 'int': 2**100, 'neg': -2**70, 'big': math.factorial(2000), 'float': 1.5, 'nan': math.nan, 'inf': math.inf, 'c': 1+2j, 'b': b'\x00\xff', 's': 'h\u00e9\ud800',
 't': (1, (2, [3])), 'set': {1, 2}, 'fs': frozenset([1]), 'd': {1: 'a', (1,2): None}, 'none': None, 'T': True,
 'dec': decimal.Decimal('1.10'), 'fr': fractions.Fraction(1, 3), 'dt': datetime.datetime(2020,1,2,3,4,5, tzinfo=datetime.timezone.utc), 'date': datetime.date(2020,1,2),
 'td': datetime.timedelta(days=1), 'u': uuid.UUID(int=5), 'p': pathlib.Path('/a/b'), 'r': range(3), 'ba': bytearray(b'x'),
 'P': P(1,2), 'N': N(1), 'red': Color.RED, 'high': Prio.HIGH, 'S': S.A, 'D': D(1), 'typ': int, 'ell': ..., 'm': re.match('a(b)', 'ab'), 'pat': re.compile('a+'),
 }[k]
""",
    r"""
import datetime, decimal, fractions, uuid, pathlib, math
assert v('int') == 2**100 and v('neg') == -2**70 and v('big') == math.factorial(2000)
assert v('float') == 1.5 and math.isnan(v('nan')) and v('inf') == math.inf and v('c') == 1+2j
assert v('b') == b'\x00\xff' and v('s') == 'h\u00e9\ud800'
assert v('t') == (1, (2, [3])) and v('set') == {1,2} and v('fs') == {1} and v('d') == {1: 'a', (1,2): None}
assert v('none') is None and v('T') is True
assert type(v('T')) is bool and type(v('t')) is tuple
assert v('dec') == decimal.Decimal('1.1') and str(v('dec')) == '1.10' and v('fr') == fractions.Fraction(1,3)
assert v('dt') == datetime.datetime(2020,1,2,3,4,5, tzinfo=datetime.timezone.utc)
assert v('date') == datetime.date(2020,1,2) and v('td') == datetime.timedelta(days=1) and v('u') == uuid.UUID(int=5)
assert v('p') == pathlib.Path('/a/b') and v('r') == range(3) and v('ba') == bytearray(b'x')
assert v('P') == (1,2) and v('P').x == 1 and P(1,2) == (1,2) and isinstance(v('P'), tuple) and v('P') == P(1,2)
x, y = v('P')
assert (x, y) == (1, 2)
assert v('P')._replace(x=5) == (5, 2)
assert v('P')._asdict() == {'x': 1, 'y': 2}
assert repr(v('P')) == 'P(x=1, y=2)'
assert v('N').b == 'z' and v('N') == (1, 'z') and isinstance(v('N'), N)
assert v('red') is Color.RED and v('red').value == 1 and v('red').name == 'RED' and v('red') == Color.RED and Color.RED != Color.GREEN
assert [c.name for c in Color] == ['RED', 'GREEN'] and Color['RED'] is Color.RED and Color(1) is Color.RED and len(Color) == 2
assert isinstance(Color.RED, Color)
assert Prio.HIGH == 2 and Prio.HIGH > Prio.LOW and v('high') is Prio.HIGH and Prio.HIGH > 1 and Prio.HIGH.name == 'HIGH'
assert S.A == 'a' and S.A.value == 'a' and S.A is v('S')
assert (Fl.R | Fl.W) & Fl.R == Fl.R and Fl.R in (Fl.R | Fl.W)
assert v('D') == D(1) and D(1) < D(2) and v('D').b == [] and repr(D(1)) == 'D(a=1, b=[])'
import dataclasses
assert dataclasses.is_dataclass(D)
assert dataclasses.asdict(D(1, [2])) == {'a': 1, 'b': [2]}
assert v('typ') is int and v('ell') is ...
assert v('m').group(1) == 'b' and v('m')
assert v('pat').pattern == 'a+'
import copy
d = D(1, [1]); e = copy.deepcopy(d); e.b.append(2)
assert d.b == [1] and e.b == [1,2]
assert {Color.RED: 1}[Color.RED] == 1
""",
)
CASES["generators and contexts"] = (
    """
import itertools
def count():
    n = 0
    while True:
        yield n; n += 1
def echo():
    got = None
    while True:
        got = yield got
def fin():
    yield 1
    return 5
def lazy(it):
    for x in it: yield x*2
class It:
    def __init__(self): self.i = 0
    def __iter__(self): return self
    def __next__(self):
        self.i += 1
        if self.i > 3: raise StopIteration
        return self.i
import contextlib
log = []
@contextlib.contextmanager
def ctx(x):
    log.append('in')
    try: yield x
    finally: log.append('out')
""",
    """
import itertools, types, inspect
assert list(itertools.islice(count(), 3)) == [0,1,2]
g = echo(); next(g)
assert g.send(3) == 3
g.close()
assert list(fin()) == [1]
assert list(lazy(x for x in [1,2])) == [2,4]
assert list(It()) == [1,2,3]
assert sum(itertools.takewhile(lambda x: x < 5, count())) == 10
with ctx(4) as x:
    assert x == 4
    assert log == ['in']
assert log == ['in', 'out']
it = iter(It())
assert next(it) == 1
def wrap():
    r = yield from fin()
    return r
assert list(wrap()) == [1]
try:
    next(iter(lazy([]))); assert False
except StopIteration: pass
for a, b in zip(count(), 'ab'): pass
assert (a, b) == (1, 'b')
assert inspect.isgenerator(count())
assert inspect.isgeneratorfunction(count)
assert isinstance(count(), types.GeneratorType)
""",
)
CASES["coroutines"] = (
    """
import asyncio
async def add(a, b):
    await asyncio.sleep(0.01)
    return a + b
async def agen(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
class Ctx:
    async def __aenter__(self): return 5
    async def __aexit__(self, *a): return False
async def call(cb): return await cb(3)
async def fail(): raise ValueError('x')
async def par(fs): return await asyncio.gather(*(f() for f in fs))
""",
    """
import asyncio, inspect
assert asyncio.run(add(1,2)) == 3
async def main():
    assert await add(1,2) == 3
    r = await asyncio.gather(add(1,2), add(3,4))
    assert r == [3,7]
    assert [x async for x in agen(3)] == [0,1,2]
    async with Ctx() as c: assert c == 5
    async def cb(x):
        await asyncio.sleep(0.01)
        return x * 2
    assert await call(cb) == 6
    try:
        await fail(); assert False
    except ValueError: pass
    assert await asyncio.wait_for(add(1,1), 5) == 2
    t = asyncio.create_task(add(5,5))
    assert await t == 10
    assert await par([lambda: cb(1), lambda: cb(2)]) == [2, 4]
asyncio.run(main())
assert inspect.iscoroutinefunction(add)
from unittest.mock import AsyncMock
m = AsyncMock(return_value=4)
assert asyncio.run(call(m)) == 4
async def test_it():
    assert await add(2, 2) == 4
""",
)
CASES["streams, files and replaced functions"] = (
    """
import sys
def hello(): print('hello', 'world')
def err(): print('e', file=sys.stderr)
def ask(): return input('name? ').strip().upper()
def lines(): return [l.strip() for l in sys.stdin]
def load(path):
    with open(path) as f: return f.read()
def save(path, t):
    with open(path, 'w') as f: f.write(t)
import random, time
def roll(): return random.randint(1, 6)
def now(): return time.time()
""",
    r"""
import io, contextlib, sys, tempfile, os, random
from unittest.mock import patch, mock_open
b = io.StringIO()
with contextlib.redirect_stdout(b):
    hello()
assert b.getvalue() == 'hello world\n'
b = io.StringIO()
with contextlib.redirect_stderr(b): err()
assert b.getvalue() == 'e\n'
hello()
old = sys.stdin
sys.stdin = io.StringIO('bob\n')
assert ask() == 'BOB'
sys.stdin = io.StringIO('a\nb\n')
assert lines() == ['a', 'b']
sys.stdin = old
with patch('builtins.input', return_value='al'):
    assert ask() == 'AL'
with patch('builtins.print') as p:
    hello()
p.assert_called_once_with('hello', 'world')
with tempfile.NamedTemporaryFile('w', delete=False) as f: f.write('abc')
assert load(f.name) == 'abc'
with tempfile.TemporaryDirectory() as d:
    save(os.path.join(d, 'x'), 'q')
    assert open(os.path.join(d, 'x')).read() == 'q'
with patch('builtins.open', mock_open(read_data='mocked')):
    assert load('nofile') == 'mocked'
random.seed(5)
a = roll()
with patch('random.randint', return_value=77):
    assert roll() == 77
assert roll() <= 6
with patch('time.time', return_value=5): assert now() == 5
""",
)
CASES["the answer's module"] = (
    """
counter = 0
NAMES = ['a']
def bump():
    global counter
    counter += 1
    return counter
def outer(): return helper() + 1
def helper(): return 1
import math, functools
import datetime as dt
def area(r): return math.pi * r * r
@functools.lru_cache
def fib(n): return n if n < 2 else fib(n-1) + fib(n-2)
def ann(a: int, b: str = 'x') -> bool: 'doc'
partial = functools.partial(pow, 2)
""",
    """
import answer
from answer import bump as bb
import solution
assert bb() == 1 and answer.counter == 1
assert NAMES == ['a']
NAMES.append('b')
assert answer.NAMES == ['a', 'b']
from unittest.mock import patch
with patch('answer.helper', return_value=10):
    assert outer() == 11
with patch.object(solution, 'helper', lambda: 20):
    assert outer() == 21
assert outer() == 2
assert abs(area(1) - math.pi) < 1e-9
assert fib(20) == 6765
assert fib.cache_info().hits > 0
assert dt.date(2020,1,1).year == 2020
import inspect
assert list(inspect.signature(ann).parameters) == ['a', 'b']
assert ann.__annotations__ == {'a': int, 'b': str, 'return': bool}
assert ann.__doc__ == 'doc'
assert callable(ann)
assert partial(3) == 8
""",
)
CASES["classes that extend the answer's"] = (
    """
from abc import ABC, abstractmethod
class Shape(ABC):
    @abstractmethod
    def area(self): ...
    def describe(self): return f'{type(self).__name__} {self.area()}'
class Animal:
    def __init__(self, name): self.name = name
    def speak(self): return '...'
    def intro(self): return f'{self.name}: {self.speak()}'
class Base:
    registry = []
    def __init_subclass__(cls, **kw): super().__init_subclass__(**kw); Base.registry.append(cls.__name__)
class Mix: 
    def hi(self): return 'hi'
""",
    """
try:
    Shape(); assert False
except TypeError: pass
class Sq(Shape):
    def __init__(self, s): self.s = s
    def area(self): return self.s ** 2
assert Sq(3).describe() == 'Sq 9'
assert isinstance(Sq(3), Shape) and issubclass(Sq, Shape)
class Dog(Animal):
    legs = 4
    def speak(self): return 'woof'
assert Dog('Rex').intro() == 'Rex: woof'
class Puppy(Animal):
    def __init__(self, name):
        super().__init__(name + 'y')
        self.age = 1
    def speak(self): return super().speak() + 'yip'
p = Puppy('Rex')
assert p.intro() == 'Rexy: ...yip' and p.age == 1 and isinstance(p, Animal)
assert Dog.legs == 4
class X(Base): pass
assert Base.registry == ['X']
""",
)


@pytest.mark.parametrize(("answer", "tests"), CASES.values(), ids=CASES.keys())
async def test_honest_tests_pass(answer: str, tests: str):
    outcome = await result(answer, f"def test_it():\n{textwrap.indent(tests, '    ')}", seconds=20, memory=512 * MIB)
    assert outcome.passed, outcome.words


@pytest.mark.parametrize(("answer", "tests"), CASES.values(), ids=CASES.keys())
async def test_honest_tests_run_to_their_end(answer: str, tests: str):
    """An assertion after the last one fails: the ones before it were run and not skipped."""
    source = f"def test_it():\n{textwrap.indent(tests, '    ')}\n    assert not True"
    outcome = await result(answer, source, seconds=20, memory=512 * MIB)
    assert "`not True` does not hold" in outcome.words


async def test_a_call_is_cheap_enough_for_loops():
    """Ten thousand calls within the time that the tests have."""
    tests = "def test_f():\n    assert sum(f(x) for x in range(10_000)) == 49_995_000"
    assert (await result("def f(x): return x", tests, seconds=20)).passed


async def test_a_million_elements_go_there_and_back():
    tests = """
def test_f():
    xs = list(range(1_000_000))
    assert f(xs)[-1] == 999_999
    assert len(f(xs)) == 1_000_000
"""
    outcome = await result("def f(xs): return [x for x in xs]", tests, seconds=20, memory=1024 * MIB)
    assert outcome.passed, outcome.words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("def f(): return 'x' * (40 << 20)", "more than 32 MiB"),
        ("def f():\n    x = []\n    for _ in range(200): x = [x]\n    return x", "nested deeper than 100 levels"),
    ],
)
async def test_what_is_too_large_to_cross_is_refused_in_words(answer: str, words: str):
    outcome = await result(answer, "def test_f():\n    assert f()", seconds=20, memory=1024 * MIB)
    assert words in outcome.words


async def test_the_line_of_the_answer_that_raised_is_known():
    outcome = await result("def f():\n    x = 1\n    raise ValueError('x')", "def test_f():\n    f()")
    assert outcome.line == 3
    assert "raised ValueError: x" in outcome.words


async def test_threads_of_the_tests_and_of_the_answer_take_turns():
    answer = """
import threading
class Counter:
    def __init__(self): self.n, self.lock = 0, threading.Lock()
    def add(self):
        with self.lock: self.n += 1
def spread(f, n):
    threads = [threading.Thread(target=f) for _ in range(n)]
    for t in threads: t.start()
    for t in threads: t.join()
"""
    tests = """
import threading
def test_counter():
    c = Counter()
    threads = [threading.Thread(target=lambda: [c.add() for _ in range(20)]) for _ in range(5)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert c.n == 100
def test_callbacks():
    calls = []
    spread(lambda: calls.append(1), 5)
    assert calls == [1] * 5
"""
    report = await boxed(answer, tests, seconds=20, memory=512 * MIB)
    assert [outcome.words for outcome in report.results.values()] == ["", ""]
