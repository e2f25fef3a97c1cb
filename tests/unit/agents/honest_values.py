# ruff: noqa: E501, W291 - the code keeps the style of models
"""Honest answers with honest tests: values, generators, coroutines and streams. A case is code and the body of a test function."""

from __future__ import annotations

CASES: dict[str, tuple[str, str]] = {}
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
