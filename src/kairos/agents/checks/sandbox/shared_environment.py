"""Applies the tests' changes of streams, environment, folder and patched functions to the answer's process.

These are captured output, provided input, replaced builtins and standard library functions, and `random.seed`.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
import types
from typing import Any

from kairos.agents.checks.sandbox import object_proxies
from kairos.agents.checks.sandbox.peer import Peer

BUILTINS = ("input", "print", "open")
"""Builtins whose replacement by the tests also applies to the answer."""
STREAMS = ("stdout", "stderr", "stdin")
ON_THE_OTHER_SIDE = {"dataclasses": ("asdict", "astuple", "replace", "fields")}
"""Functions that inspect their first argument. For an object of the answer, they are called in its process."""


def share(peer: Peer, names: set[str]) -> None:
    """Share the environment with the answer's process. `names` are those that occur in the tests."""
    SharedEnvironment(peer)
    for module, functions in ON_THE_OTHER_SIDE.items():
        for name in names.intersection(functions):
            _call_there(peer, importlib.import_module(module), name)
    if "seed" in names:
        _seed_both(peer, importlib.import_module("random"))
    if names & {"patch", "mock"}:
        _patch_both(peer, importlib.import_module("unittest.mock"))


class SharedEnvironment:
    """Streams, environment, folder and replaced builtins, sent with every message of the tests."""

    def __init__(self, peer: Peer) -> None:
        self._files = {name: getattr(sys, name) for name in STREAMS}
        self._builtins = {name: getattr(builtins, name) for name in BUILTINS}
        self._environment, self._folder = dict(os.environ), os.getcwd()
        peer.before_sending = self._state
        peer.after_receiving = self._show
        peer.handlers |= {"builtin": self._builtin, "stdin": self._stdin}

    def _state(self) -> list[Any]:
        environment, folder = dict(os.environ), os.getcwd()
        data = [
            self._replaced(),
            environment if environment != self._environment else None,
            folder if folder != self._folder else None,
        ]
        self._environment, self._folder = environment, folder
        return data

    def _replaced(self) -> list[str]:
        files = [name for name, own in self._files.items() if getattr(sys, name) is not own]
        functions = [name for name, own in self._builtins.items() if getattr(builtins, name) is not own]
        return [*files, *functions, *(["input"] if "stdin" in files and "input" not in functions else [])]

    def _show(self, shown: list[Any]) -> None:
        for stream, written in shown:
            if stream in STREAMS[:2] and type(written) is str and getattr(sys, stream) is not self._files[stream]:
                getattr(sys, stream).write(written)

    def _builtin(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name not in self._replaced():
            raise PermissionError(f"{name} is not replaced by the tests")
        return getattr(builtins, name)(*args, **kwargs)

    def _stdin(self, name: str, size: int) -> Any:
        if "stdin" not in self._replaced() or name not in ("read", "readline"):
            raise io.UnsupportedOperation(name)
        return getattr(sys.stdin, name)(size)


def _call_there(peer: Peer, module: types.ModuleType, name: str) -> None:
    own = getattr(module, name)

    def function(first: Any, *args: Any, **kwargs: Any) -> Any:
        if object_proxies.number_of(first) is None:
            return own(first, *args, **kwargs)
        return peer.request("library", module.__name__, name, (first, *args), kwargs)

    setattr(module, name, function)


def _seed_both(peer: Peer, random: Any) -> None:
    own = random.seed

    def seed(*args: Any, **kwargs: Any) -> None:
        own(*args, **kwargs)
        peer.request("library", "random", "seed", args, kwargs)

    random.seed = seed


def _patch_both(peer: Peer, mock: Any) -> None:
    """Apply `patch("time.time")` to the answer's process as well, until the patch ends."""
    patch, replaced = mock._patch, dict[int, Any]()
    enter, leave = patch.__enter__, patch.__exit__

    def entered(self: Any) -> Any:
        result = enter(self)
        if _is_shared(self.target, self.attribute):
            name, value = self.target.__name__, getattr(self.target, self.attribute)
            replaced[id(self)] = peer.request("patch", name, self.attribute, value)
        return result

    def left(self: Any, *fault: Any) -> Any:
        if id(self) in replaced:
            peer.request("patch", self.target.__name__, self.attribute, replaced.pop(id(self)))
        return leave(self, *fault)

    patch.__enter__, patch.__exit__ = entered, left


def _is_shared(target: Any, attribute: str) -> bool:
    """Whether the target is in a standard library module. Builtins and streams are sent with every message."""
    if not isinstance(target, types.ModuleType) or object_proxies.number_of(target) is not None or target is builtins:
        return False
    return target.__name__.partition(".")[0] in sys.stdlib_module_names and not (target is sys and attribute in STREAMS)
