"""Mutable containers shared by both processes. Each keeps its identity and reflects changes by the other side.

Only one side runs at a time. When it hands over control, it sends the new content of each shared container that it
changed, so that `sort(xs)` changes the list of the tests, and `tree.children.append(x)` that of the answer.
"""

from __future__ import annotations

import collections
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kairos.agents.checks.sandbox.protocol import ProtocolViolation


@dataclass(frozen=True, slots=True)
class ContainerType:
    """How a type of container is serialised and rebuilt."""

    name: str
    items: Callable[[Any], list[Any]]
    assign: Callable[[Any, list[Any]], None]
    make: Callable[[Any], Any]
    option: Callable[[Any], Any] = lambda _: None


def _flat(mapping: dict[Any, Any]) -> list[Any]:
    return [part for pair in dict.items(mapping) for part in pair]


def _assign_list(target: list[Any], items: list[Any]) -> None:
    target[:] = items


def _assign_mapping(target: dict[Any, Any], items: list[Any]) -> None:
    if len(items) % 2:
        raise ProtocolViolation("a key without a value")
    pairs = list(zip(items[::2], items[1::2], strict=True))
    target.clear()
    for key, value in pairs:
        target[key] = value


def _assign_set(target: set[Any], items: list[Any]) -> None:
    target.clear()
    target.update(items)


def _assign_deque(target: collections.deque[Any], items: list[Any]) -> None:
    target.clear()
    target.extend(items)


def _assign_bytes(target: bytearray, items: list[Any]) -> None:
    if len(items) != 1 or type(items[0]) is not str:
        raise ProtocolViolation("a bytearray without its text")
    target[:] = items[0].encode("latin-1")


def _deque(extra: Any) -> collections.deque[Any]:
    if extra is not None and type(extra) is not int:
        raise ProtocolViolation("a length that is not a number")
    return collections.deque(maxlen=extra)


def _defaultdict(extra: Any) -> collections.defaultdict[Any, Any]:
    if extra is not None and not callable(extra):
        raise ProtocolViolation("a factory that cannot be called")
    return collections.defaultdict(extra)


KINDS: dict[type, ContainerType] = {
    list: ContainerType("list", list, _assign_list, lambda _: []),
    dict: ContainerType("dict", _flat, _assign_mapping, lambda _: {}),
    set: ContainerType("set", list, _assign_set, lambda _: set()),
    bytearray: ContainerType("bytearray", lambda x: [x.decode("latin-1")], _assign_bytes, lambda _: bytearray()),
    collections.deque: ContainerType("deque", list, _assign_deque, _deque, lambda x: x.maxlen),
    collections.OrderedDict: ContainerType(
        "OrderedDict",
        lambda x: [part for pair in x.items() for part in pair],
        _assign_mapping,
        lambda _: collections.OrderedDict(),
    ),
    collections.defaultdict: ContainerType(
        "defaultdict", _flat, _assign_mapping, _defaultdict, lambda x: x.default_factory
    ),
    collections.Counter: ContainerType("Counter", _flat, _assign_mapping, lambda _: collections.Counter()),
}
BY_NAME = {kind.name: kind for kind in KINDS.values()}


@dataclass(slots=True)
class _Shared:
    container: Any
    kind: ContainerType
    seen: list[Any]
    """The items at the last exchange."""

    def has_changed(self) -> bool:
        items = self.kind.items(self.container)
        if len(items) != len(self.seen):
            return True
        same = operator.eq if self.kind.name == "bytearray" else operator.is_
        return not all(map(same, items, self.seen))


class Containers:
    """Shared containers by number. `first` is 0 on one side and 1 on the other."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._shared: dict[int, _Shared] = {}
        self._numbers: dict[int, int] = {}

    def number(self, container: Any) -> int | None:
        """Return the number of a shared container, or None."""
        return self._numbers.get(id(container))

    def share(self, container: Any) -> int:
        """Number a container of this side. The caller sends its content."""
        number, self._next = self._next, self._next + 2
        self._keep(number, container)
        return number

    def accept(self, number: Any, kind: Any, extra: Any) -> Any:
        """Create an empty container of the other side, to be filled with `fill`. Raises `ProtocolViolation`."""
        if type(number) is not int or number in self._shared or number % 2 == self._next % 2 or kind not in BY_NAME:
            raise ProtocolViolation("an invalid container")
        container = BY_NAME[kind].make(extra)
        self._keep(number, container)
        return container

    def get(self, number: Any) -> Any:
        if type(number) is not int or number not in self._shared:
            raise ProtocolViolation("a container that is not shared")
        return self._shared[number].container

    def fill(self, number: int, items: list[Any]) -> None:
        """Replace the content by the items that the other side sent."""
        shared = self._shared[number]
        try:
            shared.kind.assign(shared.container, items)
        except (TypeError, ValueError):
            raise ProtocolViolation("content that does not fit its container") from None
        shared.seen = shared.kind.items(shared.container)

    def changed(self) -> list[tuple[int, list[Any]]]:
        """Return number and items of each container that this side has changed, for the next message."""
        found = []
        for number, shared in list(self._shared.items()):
            if shared.has_changed():
                shared.seen = shared.kind.items(shared.container)
                found.append((number, shared.seen))
        return found

    def drop(self, number: int) -> None:
        """Drop a container that the other side no longer references."""
        if shared := self._shared.pop(number, None):
            self._numbers.pop(id(shared.container), None)

    def unused(self) -> list[int]:
        """Drop containers that this side no longer references, and return their numbers."""
        found: list[int] = []
        while True:
            # Two references: the record and the argument of getrefcount.
            gone = [n for n, shared in self._shared.items() if sys.getrefcount(shared.container) <= 2]
            for number in gone:
                self.drop(number)
            found += gone
            if not gone:
                return found

    def _keep(self, number: int, container: Any) -> None:
        kind = KINDS[type(container)]
        self._shared[number] = _Shared(container, kind, kind.items(container))
        self._numbers[id(container)] = number
