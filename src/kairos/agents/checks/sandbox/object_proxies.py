"""Proxies for classes and objects of the other process: a local class per remote class, a local object per object.

A proxy forwards attribute access, calls and operators. Assertions are decided on the side of the tests:

- `==` between a proxy and a local value is always false, as an object of the answer is not plain data. `is`, `type`
  and `isinstance` use the proxy's class, not what the object claims.
- Comparisons and operators that would reveal an expected value to an object (`<`, `-`, `in`, …) are forwarded only if
  the tests name the object's class, such as `Stack` in `Stack().push(1)`. For others they raise TypeError or are
  decided by iteration. So an object that makes every difference 0 does not pass `abs(f(2) - 1.41) < 0.1`.
- Instances of subclasses of an immutable builtin (named tuples, members of IntEnum) are transferred with their plain
  content and compared by it, unless the class defines its own equality.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Any

from kairos.agents.checks.sandbox import specials

PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}
"""Immutable builtins, with functions that read the plain content of a subclass instance."""
_LOCAL = frozenset(
    {
        *("__class__", "__new__", "__init__", "__del__", "__getattribute__", "__setattr__", "__delattr__"),
        *("__init_subclass__", "__subclasshook__", "__reduce__", "__reduce_ex__", "__getstate__", "__sizeof__"),
        *("__copy__", "__deepcopy__", "__traceback__", "__cause__", "__context__", "__suppress_context__"),
    }
)
_REMOTE_OF_CLASSES = frozenset({"__annotations__", "__abstractmethods__"})
_OWN = frozenset(dir(type)) - _REMOTE_OF_CLASSES


class ProxyType(type):
    """The metaclass of proxy classes."""

    peer: Any
    number: int
    lineage: tuple[type, ...]
    forwarded: frozenset[str]
    content: type | None

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any) -> Any:
        if body.pop(_MADE, False):
            return type.__new__(mcs, name, bases, body)
        return _extended(name, bases, body, options)

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any) -> None:
        type.__init__(cls, name, bases, body)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.peer.request("call", cls, args, kwargs)

    def __getattribute__(cls, name: str) -> Any:
        if name in _OWN or name in _FIELDS:
            return type.__getattribute__(cls, name)
        own = type.__getattribute__(cls, "forwarded")
        if name in own or name.startswith("_kairos"):
            return type.__getattribute__(cls, name)
        return cls.peer.request("get", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        cls.peer.request("set", cls, name, value)

    def __delattr__(cls, name: str) -> None:
        cls.peer.request("del", cls, name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls.__subclasscheck__(type(instance))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return cls in lineage(subclass)

    def __iter__(cls) -> Any:
        return cls.peer.request("special", cls, "__iter__", ())

    def __len__(cls) -> int:
        return cls.peer.request("special", cls, "__len__", ())

    def __getitem__(cls, key: Any) -> Any:
        return cls.peer.request("item", cls, key)

    def __contains__(cls, item: Any) -> bool:
        return any(item is member or item == member for member in cls)

    def __bool__(cls) -> bool:
        return True

    def __dir__(cls) -> list[str]:
        return cls.peer.request("dir", cls)


INTERPRETER: dict[tuple[Any, Any], type] = {
    (kind.__module__, kind.__name__): kind
    for kind in (
        *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType),
        *(types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
        *(map, filter, zip, enumerate, reversed, property, classmethod, staticmethod),
        *(type({}.keys()), type({}.values()), type({}.items()), type(re.match("", ""))),
    )
}
"""Interpreter types that `isinstance` reports for proxies. None of them depends on a value."""
_FIELDS = frozenset({"peer", "number", "lineage", "forwarded", "content"})


_MADE = "@made"
"""Marks the body of a class that this module creates, in contrast to class statements of the tests."""


def _extended(name: str, bases: tuple[type, ...], body: dict[str, Any], options: dict[str, Any]) -> Any:
    """Create a test class that extends a class of the code: in the other process, with callbacks to its methods."""
    cell = body.pop("__classcell__", None)
    functions = {key: value for key, value in body.items() if isinstance(value, types.FunctionType)}
    data = {key: value for key, value in body.items() if key not in functions}
    peer = next(base.peer for base in bases if type(base) is ProxyType)
    kind = peer.request("subclass", name, bases, data, functions, options)
    if cell is not None:
        cell.cell_contents = kind
    return kind


def _peer(value: Any) -> Any:
    return type(value).peer


def lineage(kind: type) -> tuple[type, ...]:
    """Return the classes that instances of this class are instances of."""
    return type.__getattribute__(kind, "lineage") if type(kind) is ProxyType else kind.__mro__


class ProxyObject:
    """A proxy for an object of the other process."""

    __slots__ = ("__weakref__", "_kairos_number")

    def __getattribute__(self, name: str) -> Any:
        kind = type(self)
        if name == "__class__":
            return INTERPRETER.get((kind.__module__, kind.__name__), kind)
        if name in _LOCAL or name in type.__getattribute__(kind, "forwarded"):
            return object.__getattribute__(self, name)
        return _attribute(self, kind, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _peer(self).request("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        _peer(self).request("del", self, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("tests cannot pickle an object of the code under test")

    def __copy__(self) -> Any:
        return _peer(self).request("copy", self)

    def __deepcopy__(self, memo: Any) -> Any:
        return _peer(self).request("deepcopy", self)

    def __del__(self) -> None:
        _release(self)


class ProxyValue:
    """A proxy for an instance of a subclass of an immutable builtin, with its plain content."""

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, type(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        _peer(self).request("set", self, name, value)

    __reduce_ex__, __copy__, __deepcopy__ = ProxyObject.__reduce_ex__, ProxyObject.__copy__, ProxyObject.__deepcopy__


class ProxyException(BaseException):
    """A proxy for an exception of the other process, which `except` and `raise` accept."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_kairos_number" not in BaseException.__getattribute__(self, "__dict__"):
            raise AttributeError(name)
        return _attribute(self, type(self), name)


def number_of(value: Any) -> int | None:
    """Return the number of the proxied object in the other process; None if the value is not a proxy."""
    if type(value) is ProxyType:
        return type.__getattribute__(value, "number")
    if type(type(value)) is not ProxyType:
        return None
    if isinstance(value, BaseException):
        return BaseException.__getattribute__(value, "__dict__").get("_kairos_number")
    return object.__getattribute__(value, "_kairos_number")


def _attribute(value: Any, kind: Any, name: str) -> Any:
    if name in specials.PREDICATES and not kind.peer.is_named(kind):
        raise TypeError(f"`{name}` is not available on {_of(kind)}: {ADVICE}")
    return kind.peer.request("get", value, name)


def _release(value: Any) -> None:
    try:
        type(value).peer.released.append(object.__getattribute__(value, "_kairos_number"))
    except AttributeError:
        return  # not fully constructed, or the interpreter is shutting down


ADVICE = (
    "the tests do not name its class, so it does not receive values that the tests expect. Return plain data, "
    "or name the class in the tests"
)


def _of(kind: type) -> str:
    return f"an object of the code's class {kind.__name__}"


def make_class(
    peer: Any,
    number: int,
    name: str,
    module: str,
    qualname: str,
    doc: str | None,
    bases: list[Any],
    own: list[str],
    methods: list[str],
    content: type | None,
) -> Any:
    """Create the proxy class for a class of the other process."""
    local, extra = _local_bases(bases, content)
    forwarded = frozenset(own)
    home: list[Any] = []
    body: dict[str, Any] = {
        **{method: _inherited(method, home) for method in methods},
        **{method: _method(method, home) for method in own},
        _MADE: True,
        "__module__": module,
        "__qualname__": qualname,
        "__doc__": doc,
    }
    if {"__await__", "send"} <= forwarded:
        body["send"] = _driven
    if not extra:
        body["__slots__"] = ()
    if "__eq__" in own and "__hash__" not in own:
        body["__hash__"] = None
    kind = _created(name, local, body)
    home.append(kind)
    ancestry = [kind, *(inner for base in bases for inner in lineage(base))]
    everything = frozenset(method for base in local if type(base) is ProxyType for method in base.forwarded) | forwarded
    for field, value in (
        ("peer", peer),
        ("number", number),
        ("lineage", tuple(dict.fromkeys([*ancestry, *kind.__mro__]))),
        ("forwarded", everything),
        ("content", content),
    ):
        type.__setattr__(kind, field, value)
    return kind


def _local_bases(bases: list[Any], content: type | None) -> tuple[tuple[type, ...], bool]:
    """Return the bases of the proxy class, and whether its instances have a dictionary."""
    errors = [base for base in bases if issubclass(base, BaseException)]
    if errors:
        return (*(base for base in errors if type(base) is ProxyType), *_once(errors), ProxyException), True
    if content is not None:
        mirrored = [base for base in bases if type(base) is ProxyType and base.content is content]
        return (*mirrored, ProxyValue, content) if not mirrored else tuple(mirrored), True
    mirrored = tuple(base for base in bases if type(base) is ProxyType and base.content is None)
    return (mirrored or (ProxyObject,)), False


def _once(errors: list[Any]) -> list[Any]:
    return [base for base in errors if type(base) is not ProxyType]


def _created(name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
    """Create the class, with fewer bases if Python cannot combine them."""
    for attempt in (bases, (*bases[:1], bases[-1]), bases[:1], bases[-1:]):
        try:
            return ProxyType(name, tuple(dict.fromkeys(attempt)), body)  # type: ignore[call-arg]
        except TypeError:
            continue
    raise TypeError(f"the class {name} has no proxy for the tests")


def _method(name: str, home: list[Any]) -> Callable[..., Any]:
    maker = _SHAPES.get(name) or _shape_of(name)
    method = maker(name, home)
    method.__name__ = name
    return method


def _inherited(name: str, home: list[Any]) -> Callable[..., Any]:
    """Return a method for `super().name()` in a test class. For plain content, that is the builtin's own method."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        kind, peer = home[0], home[0].peer
        if kind.content is not None and hasattr(kind.content, name) and not peer.is_named(type(self)):
            return getattr(kind.content, name)(self, *args, **kwargs)
        return peer.request("call", peer.request("get", kind, name), (self, *args), kwargs)

    return method


_Shape = Callable[[str, list[Any]], Callable[..., Any]]


def _shape_of(name: str) -> _Shape:
    if name in specials.EQUALITY:
        return _equality
    if name in specials.ORDER or name in specials.ARITHMETIC:
        return _operator
    return _plain


def _ask(self: Any, home: list[Any], name: str, args: tuple[Any, ...], kwargs: Any = None) -> Any:
    result = _peer(self).request("special", self, name, args, kwargs or {}, home[0])
    wanted = specials.RESULTS.get(name)
    if wanted and type(result) not in wanted:
        raise TypeError(f"{name} of {_of(type(self))} returned {type(result).__name__}, not {wanted[0].__name__}")
    return result


def _plain(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _ask(self, home, name, args, kwargs)

    return method


def _equality(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        peer = _peer(self)
        if peer.trusted and type(type(other)) is not ProxyType:
            return NotImplemented
        return _ask(self, home, name, (other,))

    return method


def _operator(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any, other: Any, *more: Any) -> Any:
        kind = type(self)
        if kind.peer.trusted and type(type(other)) is not ProxyType and not kind.peer.is_named(kind):
            raise TypeError(f"`{name}` is not forwarded to {_of(kind)}: {ADVICE}")
        return _ask(self, home, name, (other, *more))

    return method


def _contains(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any, item: Any) -> Any:
        kind = type(self)
        if not kind.peer.trusted or type(type(item)) is ProxyType or kind.peer.is_named(kind):
            return _ask(self, home, name, (item,))
        return any(item is inner or item == inner for inner in self)

    return method


def _truth(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any) -> Any:
        kind = type(self)
        if kind.peer.trusted and not kind.peer.is_named(kind):
            raise TypeError(f"{_of(kind)} has no truth value: {ADVICE}")
        return _ask(self, home, name, ())

    return method


def _call(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _peer(self).request("call", self, args, kwargs)

    return method


def _exit(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any, kind: Any, fault: Any, trace: Any) -> Any:
        """Record assertions that fail inside `with`, even if the context manager suppresses them."""
        peer = _peer(self)
        if peer.trusted and isinstance(fault, AssertionError):
            peer.failed_assertion = fault
        return _ask(self, home, name, (kind, fault, None))

    return method


def _await(name: str, home: list[Any]) -> Callable[..., Any]:
    def method(self: Any) -> Any:
        """Run the awaitable to completion in its own process, while this side's event loop blocks."""
        return _Done(self)

    return method


def _driven(self: Any, value: Any) -> Any:
    """Drive a coroutine by an event loop on this side."""
    raise StopIteration(_peer(self).request("await", self))


class _Done:
    """An iterator that ends immediately with the result."""

    def __init__(self, awaited: Any) -> None:
        self._awaited = awaited

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return _driven(self._awaited, None)


_SHAPES: dict[str, _Shape] = {
    "__contains__": _contains,
    "__bool__": _truth,
    "__call__": _call,
    "__await__": _await,
    "__exit__": _exit,
    "__aexit__": _exit,
}
