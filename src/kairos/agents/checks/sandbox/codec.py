"""Encodes values for transfer between the processes: plain data by value, other objects by a number."""

from __future__ import annotations

import sys
import types
import weakref
from typing import Any

from kairos.agents.checks.sandbox import object_proxies, protocol, specials
from kairos.agents.checks.sandbox.containers import KINDS, Containers
from kairos.agents.checks.sandbox.object_proxies import PLAIN, ProxyType
from kairos.agents.checks.sandbox.protocol import DEEPEST, NAMED, NAMES, SCALARS, SINGLETONS, ProtocolViolation, TooDeep

LIBRARY_ERRORS = frozenset(
    {
        *("json", "decimal", "asyncio", "dataclasses", "re", "struct", "queue", "csv", "configparser", "binascii"),
        *("statistics", "zipfile", "tarfile", "zlib", "lzma", "subprocess", "socket", "sqlite3", "urllib", "http"),
        *("xml", "graphlib", "ipaddress", "zoneinfo", "threading", "concurrent", "contextvars", "copy", "shutil"),
        *("calendar", "argparse", "email", "pickle", "unicodedata", "locale", "multiprocessing", "inspect", "enum"),
    }
)
"""Modules whose exceptions are sent by name. Importing them has no side effects."""
LONGEST_NAME = 200


class Codec:
    """Encodes and decodes values, on each side. `trusted` marks the side of the tests."""

    def __init__(self, peer: Any, trusted: bool) -> None:
        self._peer = peer
        self.trusted = trusted
        self.containers = Containers(0 if trusted else 1)
        self._exports: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._next = 0
        self._described: set[int] = set()
        self._proxies: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._kept: dict[int, Any] = {}
        self._classes: dict[int, Any] = {}
        self._value_names: dict[type, str | None] = {}

    # Encoding

    def encode(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind in SCALARS:
            return ["i", hex(value)] if kind is int and not -protocol.SMALL < value < protocol.SMALL else value
        if depth > DEEPEST:
            raise TooDeep(TooDeep.__doc__)
        if kind is tuple:
            return ["t", self._all(value, depth)]
        if kind in KINDS:
            return self._container(value, KINDS[kind], depth)
        if kind is bytes:
            return ["b", value.decode("latin-1")]
        if kind is frozenset:
            return ["f", self._all(list(value), depth)]
        return self._special(value, kind, depth)

    def release(self, number: Any) -> None:
        """Release an object whose proxy on the other side is gone."""
        if type(number) is int and number in self._exports and number not in self._described:
            self._numbers.pop(id(self._exports.pop(number)), None)

    def unsent(self, released: list[int]) -> list[int]:
        """Return the numbers of released proxies that have not been recreated."""
        return [number for number in released if number not in self._proxies]

    def _all(self, items: Any, depth: int) -> list[Any]:
        if protocol.are_scalars(items):
            return list(items)
        return [self.encode(item, depth + 1) for item in items]

    def _container(self, value: Any, kind: Any, depth: int) -> list[Any]:
        number = self.containers.number(value)
        if number is not None:
            return ["l", number]
        number = self.containers.share(value)
        extra = self.encode(kind.option(value), depth + 1)
        return ["L", number, kind.name, extra, self._all(kind.items(value), depth)]

    def _special(self, value: Any, kind: Any, depth: int) -> list[Any]:
        number = object_proxies.number_of(value)
        if number is not None:
            return ["o", number]
        for name, singleton in SINGLETONS.items():
            if value is singleton:
                return ["s", name]
        if name := self._value_name(kind):
            return ["v", name, self._all(protocol.VALUES[name][0](value), depth)]
        if issubclass(kind, type):
            return self._class(value, depth)
        if self.trusted and (path := _library_path(value)):
            return ["m", *path]
        return self._object(value, kind, depth)

    def _value_name(self, kind: type) -> str | None:
        if kind not in self._value_names:
            self._value_names[kind] = protocol.value_name(kind)
        return self._value_names[kind]

    def _object(self, value: Any, kind: type, depth: int) -> list[Any]:
        if issubclass(kind, BaseException):
            return self._error(value, kind, depth)
        content = None
        if (base := _content(kind)) and not _redefines_equality(kind):
            content = self.encode(PLAIN[base](value), depth + 1)
        return ["r", self._export(value), self._described_class(kind, depth + 1), content]

    def _error(self, value: BaseException, kind: type, depth: int) -> list[Any]:
        args = self.encode(tuple(BaseException.__getattribute__(value, "args")), depth + 1)
        extra = {name: part for name, part in vars(value).items() if type(part) in SCALARS and not name.startswith("_")}
        cause = value.__cause__
        data = None if cause is None or depth > 3 else self.encode(cause, depth + 1)
        number = None if _named_error(kind) else self._export(value)
        return ["e", number, self._class(kind, depth + 1), args, [list(pair) for pair in extra.items()], data]

    def _class(self, kind: Any, depth: int) -> list[Any]:
        if kind in NAMES:
            return ["n", NAMES[kind]]
        if type(kind) is ProxyType:
            return ["o", object_proxies.number_of(kind)]
        if path := _named_error(kind):
            return ["x", *path]
        if self.trusted and (path := _library_path(kind)):
            return ["m", *path]
        return self._described_class(kind, depth)

    def _described_class(self, kind: type, depth: int) -> list[Any]:
        number = self._export(kind)
        if number in self._described:
            return ["k", number]
        self._described.add(number)
        return ["K", number, *self._description(kind, depth)]

    def _description(self, kind: type, depth: int) -> list[Any]:
        bases = [self._class(base, depth + 1) for base in kind.__bases__ if base is not object]
        content = _content(kind)
        if content and _redefines_equality(kind):
            content = None
        without = (object, *PLAIN) if content else (object,)
        if issubclass(kind, BaseException):
            without = tuple(base for base in kind.__mro__ if base is object or _named_error(base) or base in NAMES)
        own = specials.defined(kind, without)
        missing = [name for name in own if getattr(kind, name, None) is None]
        doc = kind.__doc__ if type(kind.__doc__) is str else None
        names = [str(kind.__name__), str(kind.__module__), str(kind.__qualname__)]
        methods = [name for name, part in vars(kind).items() if type(part) is types.FunctionType and name not in own]
        return [*names, doc, bases, own, missing, methods, NAMES[content] if content else None]

    def _export(self, value: Any) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number, self._next = self._next, self._next + 1
            self._exports[number] = value
            self._numbers[id(value)] = number
        return number

    # Decoding

    def decode(self, data: Any, depth: int = 0) -> Any:
        if type(data) in SCALARS:
            return data
        if type(data) is not list or not data or type(data[0]) is not str or depth > 3 * DEEPEST:
            raise ProtocolViolation("a value of an unknown form")
        reader = _READERS.get(data[0])
        if reader is None:
            raise ProtocolViolation("a value of an unknown form")
        try:
            return reader(self, depth, *data[1:])
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
            raise ProtocolViolation("a value of an unknown form") from None

    def decode_all(self, data: Any, depth: int) -> list[Any]:
        if type(data) is not list:
            raise ProtocolViolation("values of an unknown form")
        if set(map(type, data)) <= SCALARS:
            return data
        return [self.decode(item, depth + 1) for item in data]

    def own(self, number: Any) -> Any:
        """Return this side's object with that number. Raises `ProtocolViolation`."""
        if type(number) is not int or number not in self._exports:
            raise ProtocolViolation("an object that was never passed")
        return self._exports[number]

    def _read_container(self, depth: int, number: int, kind: str, extra: Any, items: Any) -> Any:
        container = self.containers.accept(number, kind, self.decode(extra, depth + 1))
        self.containers.fill(number, self.decode_all(items, depth))
        return container

    def _read_object(self, depth: int, number: int, kind: Any, content: Any) -> Any:
        cls = self._read_class(kind, depth)
        _whole(number)
        for known in (self._kept.get(number), self._proxies.get(number)):
            if known is not None:
                return known
        base = type.__getattribute__(cls, "content")
        if base is None:
            made = object.__new__(cls)
            object.__setattr__(made, "_kairos_number", number)
            self._proxies[number] = made
            return made
        plain = self.decode(content, depth + 1)
        if type(plain) is not base:
            raise ProtocolViolation("content of another type")
        made = self._kept[number] = base.__new__(cls, plain)
        object.__setattr__(made, "_kairos_number", number)
        return made

    def _read_error(self, depth: int, number: Any, kind: Any, args: Any, extra: Any, cause: Any) -> Any:
        cls = self.decode(kind, depth + 1)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ProtocolViolation("an exception without a class")
        values = self.decode(args, depth + 1)
        if type(values) is not tuple:
            raise ProtocolViolation("an exception of an unknown form")
        fault = _new_error(cls, values)
        for name, part in extra:
            if type(name) is str and type(part) in SCALARS:
                fault.__dict__[name] = part
        if number is not None and type(cls) is ProxyType:
            fault.__dict__["_kairos_number"] = _whole(number)
        data = self.decode(cause, depth + 1)
        if isinstance(data, BaseException):
            fault.__cause__ = data
        return fault

    def _read_class(self, data: Any, depth: int) -> Any:
        cls = self.decode(data, depth + 1)
        if type(cls) is not ProxyType or issubclass(cls, BaseException):
            raise ProtocolViolation("an object without a class of the other side")
        return cls

    def _read_new_class(
        self,
        depth: int,
        number: int,
        name: str,
        module: str,
        qualname: str,
        doc: Any,
        bases: list[Any],
        own: list[str],
        missing: list[str],
        methods: list[str],
        content: Any,
    ) -> Any:
        _whole(number)
        if number in self._classes or not all(_is_name(text) for text in (name, module, qualname)):
            raise ProtocolViolation("an invalid class")
        methods = [method for method in methods if _is_name(method) and _may_be_inherited(method)]
        if not specials.SPECIALS.issuperset(own) or not (doc is None or type(doc) is str):
            raise ProtocolViolation("a class of an unknown form")
        base = {NAMES[kind]: kind for kind in PLAIN}[content] if content is not None else None
        parents = [self.decode(parent, depth + 1) for parent in bases]
        if not all(isinstance(parent, type) for parent in parents):
            raise ProtocolViolation("a class with invalid bases")
        own = [method for method in own if method not in missing]
        cls = object_proxies.make_class(self._peer, number, name, module, qualname, doc, parents, own, methods, base)
        self._classes[number] = cls
        return cls

    def _read_library_error(self, _: int, module: str, qualname: str) -> Any:
        found = _resolved(module, qualname) if module.partition(".")[0] in LIBRARY_ERRORS else None
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            raise ProtocolViolation("an exception that the standard library does not have")
        return found

    def _read_library(self, _: int, module: str, qualname: str) -> Any:
        """Resolve a name sent by the tests. The tests' side accepts only exceptions and plain types by name."""
        if self.trusted:
            raise ProtocolViolation("a name of the standard library")
        return _resolved(module, qualname)


_READERS: dict[str, Any] = {
    "i": lambda codec, depth, text: int(text, 16),
    "t": lambda codec, depth, items: tuple(codec.decode_all(items, depth)),
    "f": lambda codec, depth, items: frozenset(codec.decode_all(items, depth)),
    "b": lambda codec, depth, text: text.encode("latin-1") if type(text) is str else 1 / 0,
    "s": lambda codec, depth, name: SINGLETONS[name],
    "n": lambda codec, depth, name: NAMED[name],
    "l": lambda codec, depth, number: codec.containers.get(number),
    "L": Codec._read_container,
    "v": lambda codec, depth, name, parts: protocol.build_value(name, codec.decode_all(parts, depth)),
    "o": lambda codec, depth, number: codec.own(number),
    "k": lambda codec, depth, number: codec._classes[number],
    "K": Codec._read_new_class,
    "r": Codec._read_object,
    "e": Codec._read_error,
    "x": Codec._read_library_error,
    "m": Codec._read_library,
}


def _new_error(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    if type(cls) is not ProxyType:
        try:
            return cls(*args)
        except Exception:  # noqa: S110 - its constructor has other parameters than `args` (JSONDecodeError)
            pass
    fault = cls.__new__(cls, *args)
    fault.args = args
    return fault


def _content(kind: type) -> type | None:
    """Return the immutable builtin that the class extends, whose content is compared."""
    return next((base for base in PLAIN if base is not kind and base in kind.__mro__), None)


def _redefines_equality(kind: type) -> bool:
    base = _content(kind)
    return base is None or any(
        kind.__mro__[i].__dict__.keys() & {"__eq__", "__ne__", "__hash__"}
        for i in range(kind.__mro__.index(base))
        if not _is_of_library(kind.__mro__[i])
    )


def _is_of_library(kind: type) -> bool:
    """Whether a class is in the library, as Enum defines a hash. A false claim is harmless: content is compared."""
    return kind.__module__ in ("enum", "builtins")


def _named_error(kind: Any) -> tuple[str, str] | None:
    """Return module and name of a standard library exception, else None."""
    if not (isinstance(kind, type) and issubclass(kind, BaseException)) or kind in NAMES:
        return None
    module, qualname = str(kind.__module__), str(kind.__qualname__)
    if module.partition(".")[0] not in LIBRARY_ERRORS:
        return None
    return (module, qualname) if _loaded(module, qualname) is kind else None


def _library_path(value: Any) -> tuple[str, str] | None:
    """Return module and name of a standard library module, function or class, else None."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
        return (name, "") if _is_standard(name) and sys.modules.get(name) is value else None
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | types.MethodDescriptorType):
        return None
    home = getattr(value, "__objclass__", value)
    module, qualname = getattr(home, "__module__", None), getattr(value, "__qualname__", None)
    if type(module) is not str or type(qualname) is not str or not _is_standard(module):
        return None
    return (module, qualname) if _loaded(module, qualname) is value else None


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _loaded(module: str, qualname: str) -> Any:
    found = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _resolved(module: str, qualname: str) -> Any:
    __import__(module)
    return _loaded(module, qualname) if qualname else sys.modules[module]


def _is_name(text: Any) -> bool:
    return type(text) is str and 0 < len(text) <= LONGEST_NAME and "\0" not in text and text.isprintable()


def _may_be_inherited(method: str) -> bool:
    return method == "__init__" or not method.startswith(("__", "_kairos"))


def _whole(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ProtocolViolation("an invalid number")
    return number
