"""The process of the answer's code: it loads the code and serves the tests' requests. Standard library alone.

Nothing in it is trusted: the code it loads may change all of it. It holds neither the tests nor a way to report.
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
"""SourceNames under which tests may import the answer's code."""
OUTPUT_BYTES = 4 << 20
"""Output of the code that is kept for tests that capture it, between two messages."""
STREAMS = ("stdout", "stderr")


def run(source: str, link: socket.socket) -> NoReturn:
    """Serve the tests until they end."""
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
    """Kairos is not there to be imported."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "kairos":
            del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")


class _AnswerServer:
    """What the tests may ask of this process beside the requests that every peer serves."""

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
        """The code's builtins; `input`, `print` and `open` are those of the tests while these have replaced them."""
        return {**vars(builtins), **{name: self._replaceable(name) for name in ("input", "print", "open")}}

    def ask(self, operation: str, *operands: Any) -> Any:
        return self._peer.request(operation, *operands)

    def is_watched(self, name: str) -> bool:
        return name in self._watched

    def show(self, stream: str, text: str) -> None:
        """Keep output for the tests, if they capture it."""
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
    """A function of the standard library, called here because it looks into objects of the code."""
    return getattr(importlib.import_module(module), name)(*args, **kwargs)


def _patch(module: str, name: str, replacement: Any) -> Any:
    """The tests replace something in a module of the standard library; what was there before."""
    home = importlib.import_module(module)
    before = getattr(home, name)
    setattr(home, name, replacement)
    return before


def _subclass(
    name: str, bases: tuple[Any, ...], body: dict[str, Any], functions: dict[str, Any], options: dict[str, Any]
) -> Any:
    """A class of the tests that extends one of the code: its methods are the tests'."""
    methods = {name: _bound(function) for name, function in functions.items()}
    return types.new_class(name, bases, options, lambda space: space.update({**body, **methods}))


def _bound(function: Any) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


def line_of(fault: BaseException) -> int | None:
    """The line of the answer that raised it."""
    if isinstance(fault, SyntaxError) and fault.filename == ANSWER:
        return fault.lineno
    lines = [number for frame, number in traceback.walk_tb(fault.__traceback__) if frame.f_code.co_filename == ANSWER]
    return lines[-1] if lines else None
