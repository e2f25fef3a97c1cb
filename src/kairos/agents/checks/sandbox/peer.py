"""One end of the connection between the tests' process and the answer's. The ends differ only in `trusted`.

One end runs at a time: it sends a request, and serves the other's requests until the reply arrives. So a callback of
the tests can call the answer, which can call back again. A message is a JSON array: its type (`?` request, `=` result,
`!` exception), the sender's state (released numbers, containers, environment), and the operands.

The answer's code controls its end and can send anything. The tests' end (`trusted`) therefore builds only values that
`codec` allows, permits only accesses that `access_control` allows, and treats everything else as `ConnectionLost`,
which fails the test.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from kairos.agents.checks.sandbox import object_proxies, protocol, specials
from kairos.agents.checks.sandbox.codec import Codec
from kairos.agents.checks.sandbox.protocol import ProtocolViolation

LINE = "_kairos_line"
"""Attribute of an exception from the answer: the line on which it was raised."""


BROKEN = "violated the protocol"
ENDED = "ended"


class ConnectionLost(BaseException):
    """The other process ended or violated the protocol."""


class Peer:
    """Sends requests to the other process, and serves its requests."""

    def __init__(self, link: socket.socket, trusted: bool, line_of: Callable[[BaseException], int | None]) -> None:
        self.trusted = trusted
        self.released: list[int] = []
        self.named: set[Any] = set()
        """Proxy classes that the tests name. Operators with plain values are forwarded to them: see
        `object_proxies`."""
        self.lost: str | None = None
        """The reason why the connection was lost."""
        self.failed_assertion: BaseException | None = None
        """An assertion that failed where the answer could suppress it (callbacks, `with`)."""
        self.handlers: dict[str, Callable[..., Any]] = {}
        """Handlers of further requests, by name."""
        self.before_sending: Callable[[], list[Any]] = list
        self.after_receiving: Callable[[list[Any]], None] = lambda _: None
        self._codec = Codec(self, trusted)
        self._link = link
        self._turn = threading.Condition()
        self._is_waiting = False
        self._performed: list[object] = []
        self._line_of = line_of
        self._allowed: Callable[..., None] = lambda *_: None

    def guard(self, allowed: Callable[..., None]) -> None:
        """Set a function that checks each request of the other end and raises to refuse it."""
        self._allowed = allowed

    def is_named(self, kind: Any) -> bool:
        return not self.named.isdisjoint(object_proxies.lineage(kind))

    def request(self, operation: str, *operands: Any) -> Any:
        """Send a request. Returns its result or raises its exception."""
        with self._waiting():
            self._send("?", operation, *operands)
            while (message := self._receive())[0] == "?":
                self._serve(message)
        if message[0] == "=":
            return self._read(message)[0]
        raise self._fault(message, operation, operands)

    def serve(self) -> None:
        """Serve requests until the other end closes the connection."""
        with self._waiting():
            while (data := protocol.receive(self._link.recv)) is not None:
                self._serve(protocol.load(data))

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let one thread at a time wait for the other end. Others can send while it serves a request."""
        with self._turn:
            self._turn.wait_for(lambda: not self._is_waiting)
            self._is_waiting = True
        try:
            yield
        finally:
            self._release_turn()

    def _release_turn(self) -> None:
        with self._turn:
            self._is_waiting = False
            self._turn.notify_all()

    def _serve(self, message: list[Any]) -> None:
        """Perform a request while other threads may send some, and reply after all that started later."""
        performed = object()
        with self._turn:
            self._performed.append(performed)
        self._release_turn()
        try:
            reply = self._reply(message)
        finally:
            with self._turn:
                self._turn.wait_for(lambda: not self._is_waiting and self._performed[-1] is performed)
                self._performed.pop()
                self._is_waiting = True
        try:
            self._send(*reply)
        except ConnectionLost:
            raise
        except BaseException as fault:
            self._send_fault(fault)

    def _reply(self, message: list[Any]) -> tuple[Any, ...]:
        try:
            if self.trusted and not _is_on_own_object(message):
                raise ProtocolViolation("a request on an object that was never passed")
            operation, *operands = self._read(message)
            return ("=", self._perform(operation, operands))
        except (ProtocolViolation, ConnectionLost):
            self._disconnect(BROKEN)
        except BaseException as fault:
            if isinstance(fault, AssertionError):
                self.failed_assertion = fault
            line = self._line_of(fault)
            fault.__traceback__ = None
            return ("!", fault, line)

    def _send_fault(self, fault: BaseException) -> None:
        """Send an exception because the reply could not be sent: too long, too deep, or without a proxy."""
        fault.__traceback__ = None
        try:
            self._send("!", fault, None)
        except ConnectionLost:
            raise
        except BaseException:
            self._send("!", RuntimeError("a value that cannot be sent"), None)

    def _perform(self, operation: Any, operands: list[Any]) -> Any:
        perform = _OPERATIONS.get(operation) if type(operation) is str else None
        if perform is not None:
            self._allowed(operation, *operands)
            return perform(*operands)
        handler = self.handlers.get(operation) if type(operation) is str else None
        if handler is None:
            raise ProtocolViolation("an unknown request")
        return handler(*operands)

    def _fault(self, message: list[Any], operation: str, operands: tuple[Any, ...]) -> BaseException:
        fault, line = (*self._read(message), None, None)[:2]
        if not isinstance(fault, BaseException):
            self._disconnect(BROKEN)
        if isinstance(fault, StopIteration | StopAsyncIteration) and not _may_stop(operation, operands):
            fault = RuntimeError(f"the code raised {type(fault).__name__}")
        if type(line) is int:
            fault.__dict__[LINE] = line
        return fault

    def _send(self, kind: str, *operands: Any) -> None:
        if self.lost:
            raise ConnectionLost(self.lost)
        containers = self._codec.containers
        released, self.released = self._codec.unsent(self.released), []
        changed = [[number, [self._codec.encode(item) for item in items]] for number, items in containers.changed()]
        unused = containers.unused()
        encoded = [self._codec.encode(operand) for operand in operands]
        frame = protocol.dump([kind, [released, unused, changed, self.before_sending()], *encoded])
        try:
            self._link.sendall(frame)
        except OSError:
            self._disconnect(ENDED)

    def _receive(self) -> list[Any]:
        try:
            data = protocol.receive(self._link.recv)
            if data is None:
                self._disconnect(ENDED)
            message = protocol.load(data or b"")
        except (OSError, ProtocolViolation):
            self._disconnect(self.lost or BROKEN)
        if message[0] not in ("?", "=", "!"):
            self._disconnect(BROKEN)
        return message

    def _read(self, message: list[Any]) -> list[Any]:
        """Apply the sender's state and return the operands."""
        try:
            released, unused, changed, more = message[1]
            for number in released:
                self._codec.release(number)
            for number, items in changed:
                self._codec.containers.get(number)
                self._codec.containers.fill(number, self._codec.decode_all(items, 0))
            for number in unused:
                self._codec.containers.drop(number)
            operands = [self._codec.decode(operand) for operand in message[2:]]
            self.after_receiving(more)
        except (ProtocolViolation, TypeError, ValueError, IndexError, RecursionError):
            self._disconnect(BROKEN)
        if not operands:
            self._disconnect(BROKEN)
        return operands

    def _disconnect(self, why: str) -> NoReturn:
        self.lost = self.lost or why
        raise ConnectionLost(self.lost)


def _is_on_own_object(message: list[Any]) -> bool:
    """Whether the target is an object of this side, not a type sent by name: `type` could create classes."""
    operation, target = (*message[2:4], None, None)[:2]
    if type(operation) is not str or operation not in _OPERATIONS:
        return True
    return type(target) is list and target[:1] == ["o"]


def _may_stop(operation: str, operands: tuple[Any, ...]) -> bool:
    """Whether StopIteration is valid: raised outside iteration, it would silently end a loop of the tests."""
    if operation == "await":
        return True
    return operation == "special" and len(operands) > 1 and operands[1] in specials.ITERATION


def _special(owner: Any, name: str, args: Any = (), kwargs: Any = None, kind: Any = None) -> Any:
    """Call a special method of the class `kind`, which differs from the object's class for `super()`."""
    return getattr(type(owner) if kind is None else kind, name)(owner, *args, **(kwargs or {}))


def _get(owner: Any, name: str) -> Any:
    return getattr(owner, name)


def _copy(owner: Any) -> Any:
    import copy

    return copy.copy(owner)


def _deepcopy(owner: Any) -> Any:
    import copy

    return copy.deepcopy(owner)


def _item(owner: Any, key: Any) -> Any:
    return owner[key]


def _call(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _await(awaitable: Any) -> Any:
    """Run an awaitable to completion on a new event loop, possibly inside a running one."""
    import asyncio
    from asyncio import events

    async def ended() -> Any:
        return await awaitable

    outer = events._get_running_loop()
    events._set_running_loop(None)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(ended())
    finally:
        events._set_running_loop(outer)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": _call,
    "get": _get,
    "set": setattr,
    "del": delattr,
    "special": _special,
    "item": _item,
    "copy": _copy,
    "deepcopy": _deepcopy,
    "dir": dir,
    "await": _await,
}
