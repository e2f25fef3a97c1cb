"""One end of the connection between the tests' process and the answer's. Both ends are alike but for `trusted`.

Only one end works at a time: it sends a request and serves the other's requests until its reply comes. So a callback
of the tests may call the answer, which may call back again. A message is a JSON array: what it is (`?` request, `=`
result, `!` exception), the sender's state (released numbers, containers, surroundings), and its operands.

The answer's end is in the hands of the answer's code, which may send anything. The tests' end (`trusted`) therefore
builds nothing but what `codec` allows, lets the answer reach only what `reach` allows of the objects it was passed, and
takes everything else for the end of the connection: `ConnectionLost`, which no test that passes has seen.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from kairos.agents.checks.sandbox import mirrors, specials, wire
from kairos.agents.checks.sandbox.codec import Codec
from kairos.agents.checks.sandbox.wire import ProtocolError

LINE = "_kairos_line"
"""Where an exception from the answer carries the line of the answer that it was raised on."""


BROKEN = "sent what is not of the protocol"
ENDED = "ended"


class ConnectionLost(BaseException):
    """The other process ended, or sent what is not of the protocol."""


class Peer:
    """Requests to the other process, and its requests to this one."""

    def __init__(self, link: socket.socket, trusted: bool, line_of: Callable[[BaseException], int | None]) -> None:
        self.trusted = trusted
        self.released: list[int] = []
        self.named: set[Any] = set()
        """Stand-ins' classes that the tests name: their objects are asked about plain values (see `mirrors`)."""
        self.lost: str | None = None
        """Why the connection is over."""
        self.failed_assertion: BaseException | None = None
        """An assertion of the tests that failed where the answer may keep it from them (callbacks, `with`)."""
        self.handlers: dict[str, Callable[..., Any]] = {}
        """Further requests that this end serves, by name."""
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
        """Ask this before each request of the other end; it raises where the request is refused."""
        self._allowed = allowed

    def is_named(self, kind: Any) -> bool:
        return not self.named.isdisjoint(mirrors.lineage(kind))

    def request(self, operation: str, *operands: Any) -> Any:
        """Have the other end do something; its result, or its exception raised here."""
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
            while (data := wire.receive(self._link.recv)) is not None:
                self._serve(wire.load(data))

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """One thread at a time waits for the other end; the others may send when it has been asked something itself."""
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
        """Perform a request while other threads may make some, and reply when all that began later are done."""
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
            if self.trusted and not _is_on_passed(message):
                raise ProtocolError("a request on something that was never passed")
            operation, *operands = self._read(message)
            return ("=", self._perform(operation, operands))
        except (ProtocolError, ConnectionLost):
            self._disconnect(BROKEN)
        except BaseException as fault:
            if isinstance(fault, AssertionError):
                self.failed_assertion = fault
            line = self._line_of(fault)
            fault.__traceback__ = None
            return ("!", fault, line)

    def _send_fault(self, fault: BaseException) -> None:
        """The reply could not be sent as it is: too long, too deep, or of a class that cannot be shown."""
        fault.__traceback__ = None
        try:
            self._send("!", fault, None)
        except ConnectionLost:
            raise
        except BaseException:
            self._send("!", RuntimeError("a value that cannot be shown"), None)

    def _perform(self, operation: Any, operands: list[Any]) -> Any:
        perform = _OPERATIONS.get(operation) if type(operation) is str else None
        if perform is not None:
            self._allowed(operation, *operands)
            return perform(*operands)
        handler = self.handlers.get(operation) if type(operation) is str else None
        if handler is None:
            raise ProtocolError("an unknown request")
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

    def _send(self, what: str, *operands: Any) -> None:
        if self.lost:
            raise ConnectionLost(self.lost)
        containers = self._codec.containers
        released, self.released = self._codec.unsent(self.released), []
        told = [[number, [self._codec.encode(item) for item in items]] for number, items in containers.changed()]
        unused = containers.unused()
        encoded = [self._codec.encode(operand) for operand in operands]
        frame = wire.dump([what, [released, unused, told, self.before_sending()], *encoded])
        try:
            self._link.sendall(frame)
        except OSError:
            self._disconnect(ENDED)

    def _receive(self) -> list[Any]:
        try:
            data = wire.receive(self._link.recv)
            if data is None:
                self._disconnect(ENDED)
            message = wire.load(data or b"")
        except (OSError, ProtocolError):
            self._disconnect(self.lost or BROKEN)
        if message[0] not in ("?", "=", "!"):
            self._disconnect(BROKEN)
        return message

    def _read(self, message: list[Any]) -> list[Any]:
        """The operands, after the sender's state was taken over."""
        try:
            released, unused, told, more = message[1]
            for number in released:
                self._codec.forget(number)
            for number, items in told:
                self._codec.containers.get(number)
                self._codec.containers.fill(number, self._codec.decode_all(items, 0))
            for number in unused:
                self._codec.containers.forget(number)
            operands = [self._codec.decode(operand) for operand in message[2:]]
            self.after_receiving(more)
        except (ProtocolError, TypeError, ValueError, IndexError, RecursionError):
            self._disconnect(BROKEN)
        if not operands:
            self._disconnect(BROKEN)
        return operands

    def _disconnect(self, why: str) -> NoReturn:
        self.lost = self.lost or why
        raise ConnectionLost(self.lost)


def _is_on_passed(message: list[Any]) -> bool:
    """Whether it is on an object of ours, and not on a type that crosses by name: `type` would make classes."""
    operation, target = (*message[2:4], None, None)[:2]
    if type(operation) is not str or operation not in _OPERATIONS:
        return True
    return type(target) is list and target[:1] == ["o"]


def _may_stop(operation: str, operands: tuple[Any, ...]) -> bool:
    """Iteration ends by StopIteration; raised by anything else it would end a loop of the tests unnoticed."""
    if operation == "await":
        return True
    return operation == "special" and len(operands) > 1 and operands[1] in specials.ITERATION


def _special(owner: Any, name: str, args: Any = (), kwargs: Any = None, kind: Any = None) -> Any:
    """`kind` is the class whose method is meant: `super()` in a class that extends it means another one."""
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
    """Run it to its end on a loop of its own, inside the loop that may be running."""
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
