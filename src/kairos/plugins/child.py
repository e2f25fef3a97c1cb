"""The process in which a sync plugin does one task: `python -m kairos.plugins.child FD`.

It gets the task, makes its calls through the daemon, sends what `execute` returned, and is ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from kairos.plugins import child_ipc
from kairos.plugins.base_plugin import Answer, CallFailed, PluginContext, PluginError, PluginTask, Remark
from kairos.plugins.protocol import Nonsense, shape
from kairos.plugins.sources import find, load


def main() -> None:
    line, asked = child_ipc.begin()
    said = _outcome(line, asked)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    line.say(said)
    os._exit(0)


def _outcome(line: child_ipc.Line, asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        source = child_ipc.source_of(asked)
        plugin = find(source, load(source), asked["class"])()
        plugin.on_start()
        try:
            result = shape(plugin.execute(_task(line, asked)))
        finally:
            plugin.on_stop()
        return {"end": "result", **result}
    except Nonsense as fault:
        return {"end": "nonsense", "words": str(fault)}
    except MemoryError as error:
        child_ipc.more_memory()
        return {"end": "memory", "words": child_ipc.words(error), "trace": child_ipc.trace_of(error)}
    except CallFailed as error:
        return {"end": "call", "number": error.number, "words": str(error), "retryable": error.retryable}
    except PluginError as error:
        return {"end": "refused", "words": str(error), "retryable": error.retryable}
    except BaseException as error:  # sys.exit among them: this is the place that records it
        child_ipc.more_memory()
        return {"end": "crash", "words": child_ipc.words(error), "trace": child_ipc.trace_of(error)}


def _task(line: child_ipc.Line, asked: Mapping[str, Any]) -> PluginTask:
    given = dict(asked["task"])
    given["findings"] = tuple(Remark(**remark) for remark in given["findings"])
    calls = _Calls(line)
    log = logging.getLogger(f"kairos.plugins.{asked['name']}")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_ToDaemon(line))
    context = PluginContext(asked["config"], _Models(calls), _Storage(calls), _Http(calls), log)
    return PluginTask(context=context, **given)


class _Calls:
    """Calls that the daemon makes for us."""

    def __init__(self, line: child_ipc.Line) -> None:
        self._line = line

    def __call__(self, method: str, **arguments: Any) -> Any:
        """Raises `CallFailed`, and `TypeError` or `ValueError` for arguments that cannot be sent."""
        reply = self._line.ask({"call": method, "arguments": arguments})
        if error := reply.get("error"):
            raise CallFailed(error["words"], error["code"], retryable=error["retryable"], number=error["number"])
        return reply["value"]


class _Models:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def complete(self, prompt: Any, **options: Any) -> Answer:
        return Answer(**self._calls("llm.complete", prompt=prompt, **options))


class _Storage:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def get(self, key: str, default: Any = None) -> Any:
        return self._calls("storage.get", key=key, default=default)

    def set(self, key: str, value: Any) -> None:
        self._calls("storage.set", key=key, value=value)

    def delete(self, key: str) -> bool:
        return self._calls("storage.delete", key=key)

    def keys(self, prefix: str = "") -> list[str]:
        return self._calls("storage.keys", prefix=prefix)


class _Http:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def get_json(self, url: str, **options: Any) -> Any:
        return self._calls("http.get_json", url=url, **options)

    def get_text(self, url: str, **options: Any) -> str:
        return self._calls("http.get_text", url=url, **options)

    def post_json(self, url: str, value: Any, **options: Any) -> Any:
        return self._calls("http.post_json", url=url, value=value, **options)


class _ToDaemon(logging.Handler):
    """Records go to the daemon's log."""

    def __init__(self, line: child_ipc.Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._line.say({"log": record.levelno, "words": self.format(record)})
        except Exception:
            self.handleError(record)


if __name__ == "__main__":
    main()
