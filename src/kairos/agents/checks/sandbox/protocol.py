"""Transfers plain data between the tests' process and the answer's, as length-prefixed JSON.

The receiver builds every value from JSON as one of the types listed here. The sender cannot make it build other types,
load modules or run code. Frames have limits on length and depth; an invalid frame raises `ProtocolViolation`. Other
objects are transferred as references (see `peer`). Uses only the standard library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

LONGEST_FRAME = 32 << 20
"""Bytes. A list of a million numbers takes about 8 MiB."""
DEEPEST = 100
"""Levels of nesting of one value."""
SCALARS = frozenset({type(None), bool, int, float, str})
SMALL = 1 << 64
"""Smaller integers are sent as JSON numbers, larger ones as hexadecimal strings, whose length is unlimited."""

NAMED = {
    kind.__name__: kind
    for kind in (
        *(type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, object),
        *(range, slice, type),
    )
}
"""Types that are sent by name. Functions are not, so that a call by the tests cannot become `eval`."""
NAMED |= {
    name: kind
    for name, kind in vars(__import__("builtins")).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
NAMES = {kind: name for name, kind in NAMED.items()}
SINGLETONS = {"...": Ellipsis, "NotImplemented": NotImplemented}


class ProtocolViolation(Exception):
    """The other process violated the protocol."""


class TooDeep(ValueError):
    """The value is nested deeper than 100 levels, and cannot be passed between the tests and the code."""


def dump(message: list[Any]) -> bytes:
    """Return the frame of a message. Raises `ValueError` if it is too long."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > LONGEST_FRAME:
        raise ValueError(f"more than {LONGEST_FRAME >> 20} MiB cannot be passed between the tests and the code at once")
    return len(data).to_bytes(4, "big") + data


def load(data: bytes) -> list[Any]:
    """Parse the body of a frame. Raises `ProtocolViolation`."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise ProtocolViolation(f"not JSON ({type(fault).__name__})") from None
    if type(message) is not list or not message:
        raise ProtocolViolation("not a message")
    return message


def receive(read: Callable[[int], bytes]) -> bytes | None:
    """Return the body of the next frame, or None at the end of the stream. Raises `ProtocolViolation`."""
    head = _exactly(read, 4)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > LONGEST_FRAME:
        raise ProtocolViolation("a frame that is too long")
    return _exactly(read, length)


def _exactly(read: Callable[[int], bytes], length: int) -> bytes | None:
    parts, left = [], length
    while left:
        part = read(min(left, 1 << 20))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def are_scalars(items: Iterable[Any]) -> bool:
    """Whether all items can be sent as JSON scalars."""
    kinds = set(map(type, items))
    if not kinds <= SCALARS:
        return False
    return int not in kinds or all(-SMALL < item < SMALL for item in items if type(item) is int)


# Standard library types that are sent by value: functions for their parts, and constructors.


def _zone_parts(zone: Any) -> list[Any]:
    return [zone.utcoffset(None)]


VALUES: dict[str, tuple[Callable[[Any], list[Any]], Callable[..., Any]]] = {
    "builtins.complex": (lambda x: [x.real, x.imag], complex),
    "builtins.range": (lambda x: [x.start, x.stop, x.step], range),
    "builtins.slice": (lambda x: [x.start, x.stop, x.step], slice),
    "decimal.Decimal": (lambda x: [str(x)], lambda text: _library("decimal").Decimal(_text(text))),
    "fractions.Fraction": (
        lambda x: [x.numerator, x.denominator],
        lambda n, d: _library("fractions").Fraction(_whole(n), _whole(d)),
    ),
    "datetime.date": (lambda x: [x.year, x.month, x.day], lambda *parts: _library("datetime").date(*parts)),
    "datetime.time": (
        lambda x: [x.hour, x.minute, x.second, x.microsecond, x.tzinfo, x.fold],
        lambda *parts: _library("datetime").time(*parts[:5], fold=parts[5]),
    ),
    "datetime.datetime": (
        lambda x: [x.year, x.month, x.day, x.hour, x.minute, x.second, x.microsecond, x.tzinfo, x.fold],
        lambda *parts: _library("datetime").datetime(*parts[:8], fold=parts[8]),
    ),
    "datetime.timedelta": (
        lambda x: [x.days, x.seconds, x.microseconds],
        lambda *parts: _library("datetime").timedelta(*parts),
    ),
    "datetime.timezone": (_zone_parts, lambda offset: _library("datetime").timezone(offset)),
    "zoneinfo.ZoneInfo": (lambda x: [x.key], lambda key: _library("zoneinfo").ZoneInfo(_text(key))),
    "uuid.UUID": (lambda x: [x.int], lambda number: _library("uuid").UUID(int=number)),
    "pathlib.PosixPath": (lambda x: [str(x)], lambda text: _library("pathlib").PosixPath(_text(text))),
    "pathlib.PurePosixPath": (lambda x: [str(x)], lambda text: _library("pathlib").PurePosixPath(_text(text))),
    "pathlib.PureWindowsPath": (lambda x: [str(x)], lambda text: _library("pathlib").PureWindowsPath(_text(text))),
    "ipaddress.IPv4Address": (lambda x: [str(x)], lambda text: _library("ipaddress").IPv4Address(_text(text))),
    "ipaddress.IPv6Address": (lambda x: [str(x)], lambda text: _library("ipaddress").IPv6Address(_text(text))),
}


def value_name(kind: type) -> str | None:
    """Return the name of a type whose instances are sent by value, else None."""
    module = kind.__module__ if type(kind.__module__) is str else ""
    name = f"{module.removeprefix('_')}.{kind.__qualname__}"
    name = (
        name.replace("pathlib._local.", "pathlib.")
        .replace("pydecimal.", "decimal.")
        .replace("pydatetime.", "datetime.")
    )
    if name not in VALUES:
        return None
    home = sys.modules.get(name.partition(".")[0])
    return name if getattr(home, kind.__qualname__, None) is kind else None


def build_value(name: Any, parts: list[Any]) -> Any:
    """Build a standard library value from its parts. Raises `ProtocolViolation`."""
    if type(name) is not str or name not in VALUES:
        raise ProtocolViolation("a value of an unknown type")
    if not all(type(part) in SCALARS or value_name(type(part)) for part in parts):
        raise ProtocolViolation("a part that is not a plain value")
    try:
        return VALUES[name][1](*parts)
    except Exception as fault:
        raise ProtocolViolation(f"invalid {name}: {type(fault).__name__}") from None


def _library(name: str) -> Any:
    return __import__(name)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value
