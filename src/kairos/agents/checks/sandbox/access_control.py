"""Access control for objects that the tests pass to the answer's code: functions, mocks, files, instances.

Without it, `key.__globals__["__builtins__"]["exec"]` of any callback would run code in the process of the tests. The
code may call the objects it receives, use their special methods, and read and set public attributes of instances of the
tests' classes. It may not access a function's module, replace a method, or change the records of a mock.
"""

from __future__ import annotations

import io
import re
import sys
import types
from typing import Any

from kairos.agents.checks.sandbox.specials import GENERATOR, SPECIALS

_DESCRIBING = frozenset({"__name__", "__qualname__", "__doc__", "__module__", "__notes__"})
_FUNCTIONS = (
    *(types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType),
    *(types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType),
)
_NEVER = (types.ModuleType, types.CodeType, types.FrameType, types.TracebackType, types.MappingProxyType)
_GENERATORS = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_FILE = frozenset(
    {
        *("read", "readline", "readlines", "readable", "write", "writelines", "writable", "seek", "seekable", "tell"),
        *("flush", "close", "closed", "truncate", "getvalue", "name", "mode", "encoding", "isatty", "newlines"),
    }
)
_OF_MOCKS = re.compile(
    r"assert_\w*|mock_\w*|method_calls|called|call_(count|args|args_list)|side_effect|return_value|"
    r"reset_mock|configure_mock|attach_mock|await\w*"
)
_SERVICES = {
    "sqlite3": frozenset(
        {
            *("execute", "executemany", "executescript", "cursor", "commit", "rollback", "close", "fetchone"),
            *("fetchall", "fetchmany", "lastrowid", "rowcount", "description", "total_changes", "in_transaction"),
        }
    ),
    "tempfile": _FILE,
    "logging": frozenset(
        {"debug", "info", "warning", "error", "critical", "exception", "log", "isEnabledFor", "name", "level"}
    ),
}
_HELD = frozenset(
    {
        *("threading", "_thread", "queue", "_queue", "collections", "array", "re", "random", "_random", "types"),
        *("asyncio.locks", "asyncio.queues", "enum", "fractions", "decimal", "datetime", "argparse", "_hashlib"),
        *("xml.etree.ElementTree", "time", "urllib.parse", "ast", "_ast"),
    }
)
"""Modules whose objects have safe public attributes."""


class AccessDenied(AttributeError):
    """The code under test may not use this attribute of an object of the tests."""


def allowed(operation: str, owner: Any, *operands: Any) -> None:
    """Raise `AccessDenied` if the answer's code may not perform this operation on an object of the tests."""
    if isinstance(owner, _NEVER):
        raise AccessDenied(f"a {type(owner).__name__} of the tests")
    if isinstance(owner, type) and operation in ("call", "special") and not _is_of_tests(owner):
        # An `attrgetter` or a mock created by the code in the tests' process could access everything there.
        raise AccessDenied(f"the class {owner.__name__}, which is not of the tests")
    if operation in ("call", "copy", "deepcopy", "await"):
        return
    if operation in ("special", "item", "dir"):
        if operation == "special" and not _may_call(owner, *operands):
            raise AccessDenied(str(operands[0])[:100])
        return
    name = operands[0] if operands else None
    if type(name) is not str or not _may_use(operation, owner, name):
        raise AccessDenied(f"`{str(name)[:100]}` of a {type(owner).__name__} of the tests")


def _is_of_tests(kind: type) -> bool:
    mock = sys.modules.get("unittest.mock")
    return kind.__module__ == "tests" and not (mock is not None and issubclass(kind, mock.NonCallableMock))


def _may_call(owner: Any, name: Any, args: Any = (), kwargs: Any = None, kind: Any = None) -> bool:
    return (
        type(name) is str and name in SPECIALS and (kind is None or any(kind is base for base in type(owner).__mro__))
    )


def _may_use(operation: str, owner: Any, name: str) -> bool:
    if operation == "get" and name in _DESCRIBING:
        return type(getattr(owner, name, None)) is str
    if name.startswith("_") or isinstance(owner, _FUNCTIONS):
        return False
    if isinstance(owner, _GENERATORS):
        return operation == "get" and name in GENERATOR
    if isinstance(owner, io.IOBase):
        return operation == "get" and name in _FILE
    if isinstance(owner, type):
        return operation == "get" and owner.__module__ == "tests"
    return _may_use_object(operation, owner, name)


def _may_use_object(operation: str, owner: Any, name: str) -> bool:
    mock = sys.modules.get("unittest.mock")
    if mock is not None and isinstance(owner, mock.NonCallableMock):
        return operation == "get" and not _OF_MOCKS.fullmatch(name)
    module = type(owner).__module__
    if operation == "get":
        return module in _HELD or not _is_standard(module) or name in _SERVICES.get(module, ())
    replaced = getattr(type(owner), name, None)
    return (module == "tests" or type(owner) is types.SimpleNamespace) and not callable(replaced)


def _is_standard(module: Any) -> bool:
    return type(module) is not str or module.partition(".")[0] in sys.stdlib_module_names
