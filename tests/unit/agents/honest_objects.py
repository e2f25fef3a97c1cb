# ruff: noqa: E501 - the code keeps the style of models
"""Honest answers with honest tests: objects, callbacks and containers. A case is code and the body of a test function."""

from __future__ import annotations

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
