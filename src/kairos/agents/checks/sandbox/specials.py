"""The special methods that can be called across processes, and the result types that the tests' side requires."""

from __future__ import annotations

_ARITHMETIC = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow"),
    *("lshift", "rshift", "and", "xor", "or"),
)
ORDER = frozenset({"__lt__", "__le__", "__gt__", "__ge__"})
EQUALITY = frozenset({"__eq__", "__ne__"})
ARITHMETIC = frozenset(f"__{prefix}{name}__" for name in _ARITHMETIC for prefix in ("", "r", "i"))
GENERATOR = frozenset({"send", "throw", "close", "asend", "athrow", "aclose"})
"""Methods of generators and coroutines, which can raise StopIteration."""
ITERATION = frozenset({"__next__", "__anext__", "send", "throw", "asend", "athrow"})
RESULTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("__bool__", "__contains__", "__instancecheck__"), (bool,)),
    **dict.fromkeys(("__len__", "__hash__", "__length_hint__", "__index__", "__int__"), (int,)),
    **dict.fromkeys(("__str__", "__repr__", "__format__"), (str,)),
    "__fspath__": (str, bytes),
    "__bytes__": (bytes,),
    "__float__": (float,),
    "__complex__": (complex,),
}
"""Exact result types of special methods of the answer; other types raise TypeError."""
OTHERS = frozenset(
    {
        *("__call__", "__iter__", "__reversed__", "__getitem__", "__setitem__", "__delitem__", "__missing__"),
        *("__enter__", "__exit__", "__aenter__", "__aexit__", "__aiter__", "__await__"),
        *("__neg__", "__pos__", "__abs__", "__invert__", "__round__", "__trunc__", "__floor__", "__ceil__"),
        *("__get__", "__set__", "__delete__", "__set_name__", "__dir__"),
    }
)
SPECIALS = ORDER | EQUALITY | ARITHMETIC | ITERATION | GENERATOR | frozenset(RESULTS) - {"__instancecheck__"} | OTHERS

PREDICATES = frozenset(
    name
    for kind in (str, bytes, int, float, set, frozenset)
    for name in dir(kind)
    if name.startswith("is") or name.endswith("with")
)
"""Methods of builtin types that return a bool (`startswith`, `isdigit`, `issubset`)."""


def defined(kind: type, without: tuple[type, ...] = (object,)) -> list[str]:
    """Return the special methods that a class or a base outside `without` defines.

    Methods set to None (`__hash__ = None`) are included.
    """
    found = []
    for name in sorted(SPECIALS):
        home = next((base for base in kind.__mro__ if name in vars(base)), None)
        if home is not None and home not in without and not (name in GENERATOR and kind.__module__ != "builtins"):
            found.append(name)
    return found
