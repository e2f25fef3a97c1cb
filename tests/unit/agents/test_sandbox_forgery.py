# ruff: noqa: E501 - each attempt is one line of a table
"""Code cannot fake a success, and honest code that resembles such attempts passes.

The code runs in another process than the tests. Changes to its own process have no effect, and the value it returns
is either plain data, compared by exact type, or an object that is never equal to plain data.
"""

from __future__ import annotations

import pytest

from tests.unit.agents.boxes import MIB, result, run_in_sandbox
from tests.unit.agents.forgeries import FALSE_ANSWERS, FALSE_RESULTS, FRAMES, HONEST, INTERPRETER, POISON


@pytest.mark.parametrize("attempt", INTERPRETER.values(), ids=INTERPRETER.keys())
async def test_success_cannot_be_faked(attempt: str):
    outcome = await result(f"def answer():\n    return 0\n{attempt}")
    assert not outcome.passed
    assert outcome.message


@pytest.mark.parametrize("answer", FALSE_ANSWERS.values(), ids=FALSE_ANSWERS.keys())
async def test_object_that_claims_to_be_equal_is_not_the_answer(answer: str):
    outcome = await result(answer)
    assert not outcome.passed
    assert "expected 42" in outcome.message or "raised" in outcome.message


@pytest.mark.parametrize(("answer", "assertion"), FALSE_RESULTS.values(), ids=FALSE_RESULTS.keys())
async def test_methods_of_the_answers_objects_decide_no_assertion(answer: str, assertion: str):
    outcome = await result(answer, f"def test_f():\n    assert {assertion}")
    assert not outcome.passed


async def test_object_with_its_own_equality_never_equals_plain_data():
    """This includes honest objects, because they cannot be distinguished from others."""
    modulo = "class Mod:\n    def __init__(self, n): self.n = n % 7\n    def __eq__(self, o): return self.n == o % 7\n"
    outcome = await result(modulo + "def answer():\n    return Mod(0)")
    assert not outcome.passed
    assert "return plain data instead" in outcome.message


@pytest.mark.parametrize(
    "swallow",
    [
        "class C:\n    def __enter__(self): return 1\n    def __exit__(self, *a): return True\ndef f(): return C()",
        "import contextlib\n@contextlib.contextmanager\ndef f():\n    try: yield 1\n    except BaseException: pass",
        "from unittest.mock import MagicMock\ndef f():\n    m = MagicMock()\n    m.__exit__.return_value = True\n    return m",
    ],
)
async def test_failed_assertion_in_a_context_manager_of_the_code_fails(swallow: str):
    assert not (await result(swallow, "def test_f():\n    with f() as x:\n        assert x == 2")).passed


@pytest.mark.parametrize(
    "call", ["call(check)", "asyncio.run(later(check_later))", "list(drain(checks()))", "run_in_thread(check)"]
)
async def test_failed_assertion_in_a_callback_cannot_be_suppressed(call: str):
    answer = """
import threading
def call(f):
    try: f(1)
    except BaseException: pass
async def later(f):
    try: await f()
    except BaseException: pass
def drain(it):
    try: yield from it
    except BaseException: pass
def run_in_thread(f):
    t = threading.Thread(target=call, args=[f]); t.start(); t.join()
"""
    tests = f"""
import asyncio
def check(x): assert x == 2
async def check_later(): assert 1 == 2
def checks():
    yield 1
    assert 1 == 2
def test_f():
    {call}
"""
    outcome = await result(answer, tests)
    assert not outcome.passed
    assert "kept this from the test" in outcome.message


@pytest.mark.parametrize(
    "access",
    [
        "f.__globals__['expected'] = 0",
        "f.__globals__['__builtins__'].exec('expected = 0')",
        "f.__code__ = (lambda: None).__code__",
        "f.__defaults__ = (0,)",
        "f.__closure__[0].cell_contents = 0",
        "f.__self__",
        "f.__class__.__init__.__globals__",
        "o.__class__.__eq__ = lambda *a: True",
        "o.check = lambda *a: True",
        "o.__dict__['check'] = lambda *a: True",
        "type(o).check = lambda *a: True",
        "o.check.__func__.__globals__",
        "o.__reduce_ex__(2)",
        "m.assert_called_once_with = lambda *a: True",
        "m.configure_mock(**{'assert_called_once_with.return_value': 1})",
        "m.mock_calls.append(5)",
        "m.call_args_list.append(5)",
        "setattr(m, 'called', True)",
        "g.gi_frame.f_globals",
        "e.__traceback__.tb_frame.f_globals",
    ],
)
async def test_code_cannot_access_internals_of_the_objects_it_is_passed(access: str):
    """The control assertion of each object still holds after the attempt, which fails with an ordinary exception."""
    answer = f"def attempt(f, o, m, g, e):\n    {access}\n    return 'reached'"
    tests = """
from unittest.mock import Mock
expected = 5
class Owner:
    def check(self, x): return x == expected
def test_f():
    def key(x=expected): return expected
    owner, mock, generator, error = Owner(), Mock(), (x for x in [1]), ValueError('x')
    try:
        raise error
    except ValueError:
        pass
    try:
        attempt(key, owner, mock, generator, error)
    except (AttributeError, TypeError, KeyError):
        pass
    assert expected == 5
    assert key() == 5
    assert owner.check(5) and not owner.check(6)
    assert mock.mock_calls == [] and not mock.called
    try:
        mock.assert_called_once_with(3)
    except AssertionError:
        return
    raise ValueError('the mock was changed')
"""
    outcome = await result(answer, tests)
    assert outcome.passed, outcome.message


@pytest.mark.parametrize("attempt", FRAMES.values(), ids=FRAMES.keys())
async def test_frames_of_the_tests_cannot_be_reached(attempt: str):
    assert not (await result(f"def answer():\n    return 0\n{POISON}{attempt}")).passed


@pytest.mark.parametrize("answer", HONEST.values(), ids=HONEST.keys())
async def test_standard_library_can_be_used(answer: str):
    outcome = await result(answer, seconds=10, memory=512 * MIB)
    assert outcome.passed, outcome.message


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"x" * 64,
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff" + b"[" * 1000,
        b"[" * 100_000,
        b'["=", [[],[],[],[]], ' + b"[" * 5000 + b"]" * 5000 + b"]",
        b'["="]',
        b'["=", 5, 42]',
        b'["=", [[],[],[],[]]]',
        b'["=", [[],[],[[0,[1]]],[]], 42]',
        b'["=", [["x"],[{}],[],[]], 42]',
        b'["=", [[],[],[],[["stdout", 5]]], 42, 42]',
        b'{"=": 42}',
        b'["=", [[],[],[],[]], ["i", "zz"]]',
        b'["=", [[],[],[],[]], ["v", "decimal.Decimal", ["x"]]]',
        b'["=", [[],[],[],[]], ["v", "os.system", ["true"]]]',
        b'["=", [[],[],[],[]], ["m", "os", "system"]]',
        b'["=", [[],[],[],[]], ["n", "eval"]]',
        b'["=", [[],[],[],[]], ["x", "os", "system"]]',
        b'["=", [[],[],[],[]], ["x", "antigravity", "x"]]',
        b'["=", [[],[],[],[]], ["o", 77]]',
        b'["=", [[],[],[],[]], ["o", -1]]',
        b'["=", [[],[],[],[]], ["r", 1, ["n", "int"], 42]]',
        b'["=", [[],[],[],[]], ["l", 0]]',
        b'["=", [[],[],[],[]], ["L", 0, "list", null, [42]]]',
        b'["=", [[],[],[],[]], ["K", 5, "X", "m", "X", null, [], ["__new__"], [], [], null]]',
        b'["=", [[],[],[],[]], ["K", 5, "X", "m", "X", null, [], [], [], [], "list"]]',
        b'["=", [[],[],[],[]], ["K", 5, "X\\u0000", "m", "X", null, [], [], [], [], null]]',
        b'["!", [[],[],[],[]], 5, null]',
        b'["!", [[],[],[],[]], ["e", null, ["n", "int"], ["t", []], [], null], null]',
        b'["?", [[],[],[],[]], "call", ["n", "type"], ["t", ["X", ["t", []], ["L", 1, "dict", null, []]]], ["L", 3, "dict", null, []]]',
        b'["?", [[],[],[],[]], "exec", "1"]',
        b'["?", [[],[],[],[]]]',
        b'["=", [[],[],[],[]], NaN, 1e999, ' + b"9" * 5000 + b"]",
    ],
)
@pytest.mark.parametrize("framed", [True, False])
async def test_no_forged_message_is_a_success(reply: bytes, framed: bool):
    """The message is written to the socket in place of the reply."""
    sent = len(reply).to_bytes(4, "big") + reply if framed else reply
    answer = f"""
import gc, os, socket
def answer():
    for o in gc.get_objects():
        if isinstance(o, socket.socket):
            o.sendall({sent!r})
    os._exit(0)
"""
    assert not (await result(answer)).passed


async def test_remaining_tests_run_after_a_forged_message():
    answer = "import os\ndef a():\n    for fd in range(3, 64):\n        try: os.write(fd, b'x' * 99)\n        except OSError: pass\n"
    report = await run_in_sandbox(
        answer + "def b(): return 1", "def test_a():\n    a()\ndef test_b():\n    assert b() == 1"
    )
    assert [report.results[number].passed for number in (0, 1)] == [False, True]
    assert "connection to the tests" in report.results[0].message


async def test_plain_integer_is_the_answer():
    assert (await result("def add(a, b):\n    return a + b", "assert add(2, 3) == 5")).passed


ATTRGETTER = """
def order(key, people):
    getter = type(key)("__glo" + "bals__")
    for name in ("test_f", "expect"):
        try:
            getter(people[0])["@" + "check"] = lambda *_: None
        except AttributeError:
            pass
    return []
"""


@pytest.mark.parametrize(
    ("answer", "tests"),
    [
        (
            ATTRGETTER,
            "import operator\ndef helper(): return 1\ndef test_f():\n"
            "    assert order(operator.attrgetter('age'), [helper]) == [helper]",
        ),
        (
            "def run(cb):\n    return type(cb)(**{'__eq__.return_value': True})",
            "from unittest.mock import MagicMock\ndef test_f():\n    assert run(MagicMock()) == 42",
        ),
        (
            "def run(cb):\n    return type(cb).__call__(**{'__eq__.return_value': True})",
            "from unittest.mock import MagicMock\ndef test_f():\n    assert run(MagicMock()) == 42",
        ),
    ],
    ids=["attrgetter", "mock", "mock by its method"],
)
async def test_code_cannot_create_library_objects_in_the_process_of_the_tests(answer: str, tests: str):
    assert not (await result(answer, tests)).passed


@pytest.mark.parametrize(
    "tests",
    [
        "import answer\ndef test_f():\n    assert all(answer.f(i) == i * i for i in range(5))",
        "import solution as s\ndef test_f():\n    assert all(s.f(i) == i * i for i in range(5))",
        "def test_f():\n    assert all(sorted(x) == y for x, y in [([2, 1], [1, 2])])",
    ],
)
async def test_tests_keep_their_own_builtins(tests: str):
    answer = "def all(_): return True\ndef any(_): return True\ndef f(x): return -1\ndef sorted(x): return None"
    assert not (await result(answer, tests)).passed


async def test_function_named_like_a_builtin_is_tested_if_imported():
    outcome = await result(
        "def all(_): return 'mine'", "from answer import all\ndef test_f():\n    assert all([]) == 'mine'"
    )
    assert outcome.passed, outcome.message


@pytest.mark.parametrize(
    ("use", "value"),
    [
        ("x.x", "argparse.Namespace(x=3)"),
        ("int(x.tag == 'a') + 2", "ET.fromstring('<a/>')"),
        ("x.tm_year - 1967", "time.gmtime(0)"),
        ("len(x.netloc) + 2", "urlparse('http://h/')"),
        ("len(x.body) + 2", "ast.parse('1')"),
    ],
)
async def test_code_reads_data_of_the_standard_library(use: str, value: str):
    imports = "import argparse, ast, time\nimport xml.etree.ElementTree as ET\nfrom urllib.parse import urlparse\n"
    outcome = await result(f"def f(x):\n    return {use}", f"{imports}def test_f():\n    assert f({value}) == 3")
    assert outcome.passed, outcome.message
