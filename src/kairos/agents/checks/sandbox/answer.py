"""The process that loads the answer's code and serves requests of the tests. Uses only the standard library.

The process is untrusted, since the code can change all of it. It has neither the tests nor a channel to report results.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import os
import socket
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn

from kairos.agents.checks.sandbox.peer import Peer

ANSWER = "answer.py"
MODULES = ("answer", "solution")
"""Module names under which tests can import the answer's code."""
OUTPUT_BYTES = 4 << 20
"""Maximum output kept between two messages, for tests that capture it."""
STREAMS = ("stdout", "stderr")


def run(source: str, link: socket.socket) -> NoReturn:
    """Load the code and serve the tests until they end."""
    end = os._exit
    _hide()
    served = _AnswerServer(link)
    module = types.ModuleType(MODULES[0])
    module.__dict__["__builtins__"] = served.builtins()
    for name in MODULES:
        sys.modules[name] = module
    try:
        served.serve(source, module)
    finally:
        end(0)


def _hide() -> None:
    """Make Kairos unavailable for import."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "kairos":
            del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")


class _AnswerServer:
    """Serves the requests of the tests beyond those that every peer serves."""

    def __init__(self, link: socket.socket) -> None:
        self._peer = Peer(link, trusted=False, line_of=line_of)
        self._watched: list[str] = []
        self._shown: list[list[str]] = []
        self._peer.after_receiving = self._apply_environment
        self._peer.before_sending = self._captured_output

    def serve(self, source: str, module: types.ModuleType) -> None:
        sys.stdout, sys.stderr = (self._stream(name) for name in STREAMS)
        sys.stdin = _Input(self)

        def load() -> Any:
            exec(compile(source, ANSWER, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - its purpose
            return module

        self._peer.handlers |= {
            "load": lambda _: load(),
            "names": lambda wanted: [(name, vars(module)[name]) for name in wanted if name in vars(module)],
            "library": _library,
            "patch": _patch,
            "subclass": _subclass,
        }
        self._peer.serve()

    def builtins(self) -> dict[str, Any]:
        """Return the code's builtins, in which `input`, `print` and `open` follow replacements by the tests."""
        return {**vars(builtins), **{name: self._replaceable(name) for name in ("input", "print", "open")}}

    def ask(self, operation: str, *operands: Any) -> Any:
        return self._peer.request(operation, *operands)

    def is_watched(self, name: str) -> bool:
        return name in self._watched

    def show(self, stream: str, text: str) -> None:
        """Keep output for the tests if they capture it."""
        if stream in self._watched and sum(len(kept) for _, kept in self._shown) < OUTPUT_BYTES:
            self._shown.append([stream, text[:OUTPUT_BYTES]])

    def _replaceable(self, name: str) -> Callable[..., Any]:
        own = getattr(builtins, name)

        @functools.wraps(own)
        def function(*args: Any, **kwargs: Any) -> Any:
            if name in self._watched:
                return self.ask("builtin", name, args, kwargs)
            return getattr(builtins, name)(*args, **kwargs)

        return function

    def _stream(self, name: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(_Output(self, name), "utf-8", "replace", write_through=True)  # type: ignore[arg-type]

    def _apply_environment(self, data: list[Any]) -> None:
        self._watched, environment, folder = data
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        if folder is not None:
            os.chdir(folder)

    def _captured_output(self) -> list[Any]:
        shown, self._shown = self._shown, []
        return shown


class _Output(io.RawIOBase):
    def __init__(self, served: _AnswerServer, name: str) -> None:
        self._served, self._name = served, name

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._served.is_watched(self._name):
            self._served.show(self._name, bytes(data).decode("utf-8", "replace"))
        return len(data)


class _Input(io.TextIOBase):
    def __init__(self, served: _AnswerServer) -> None:
        self._served = served

    def readable(self) -> bool:
        return True

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        return self._served.ask("stdin", "readline", size) if self._served.is_watched("stdin") else ""

    def read(self, size: int | None = -1) -> str:
        return (
            self._served.ask("stdin", "read", -1 if size is None else size) if self._served.is_watched("stdin") else ""
        )


def _library(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function of the standard library that inspects objects of the code."""
    return getattr(importlib.import_module(module), name)(*args, **kwargs)


def _patch(module: str, name: str, replacement: Any) -> Any:
    """Replace an attribute of a standard library module for the tests. Returns the previous value."""
    home = importlib.import_module(module)
    before = getattr(home, name)
    setattr(home, name, replacement)
    return before


def _subclass(
    name: str, bases: tuple[Any, ...], body: dict[str, Any], functions: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Create a subclass of a class of the code, with methods of the tests."""
    methods = {name: _bound(function) for name, function in functions.items()}
    return types.new_class(name, bases, options, lambda space: space.update({**body, **methods}))


def _bound(function: Any) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


def line_of(fault: BaseException) -> int | None:
    """Return the line of the answer that raised the exception, or None."""
    if isinstance(fault, SyntaxError) and fault.filename == ANSWER:
        return fault.lineno
    lines = [number for frame, number in traceback.walk_tb(fault.__traceback__) if frame.f_code.co_filename == ANSWER]
    return lines[-1] if lines else None
