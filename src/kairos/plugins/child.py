"""Process that runs one task of a sync plugin: `python -m kairos.plugins.child FD`.

It receives the task, makes its calls through the daemon, sends the result of `execute`, and exits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from kairos.plugins import child_ipc
from kairos.plugins.base_plugin import (
    Answer,
    BasePlugin,
    CallFailed,
    PluginContext,
    PluginError,
    PluginFinding,
    PluginTask,
)
from kairos.plugins.protocol import InvalidResult, shape
from kairos.plugins.sources import find, load


def main() -> None:
    channel, request = child_ipc.begin()
    message = _outcome(channel, request)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    channel.send(message)
    os._exit(0)


def _outcome(channel: child_ipc.Channel, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        source = child_ipc.source_of(request)
        plugin = find(source, load(source), request["class"], BasePlugin)()
        plugin.on_start()
        try:
            result = shape(plugin.execute(_task(channel, request)))
        finally:
            plugin.on_stop()
        return {"end": "result", **result}
    except InvalidResult as fault:
        return {"end": "nonsense", "message": str(fault)}
    except MemoryError as error:
        child_ipc.more_memory()
        return {"end": "memory", "message": child_ipc.error_line(error), "trace": child_ipc.trace_of(error)}
    except CallFailed as error:
        return {"end": "call", "number": error.number, "message": str(error), "retryable": error.retryable}
    except PluginError as error:
        return {"end": "refused", "message": str(error), "retryable": error.retryable}
    except BaseException as error:  # also SystemExit, which must be reported
        child_ipc.more_memory()
        return {"end": "crash", "message": child_ipc.error_line(error), "trace": child_ipc.trace_of(error)}


def _task(channel: child_ipc.Channel, request: Mapping[str, Any]) -> PluginTask:
    given = dict(request["task"])
    given["findings"] = tuple(PluginFinding(**finding) for finding in given["findings"])
    calls = _Calls(channel)
    log = logging.getLogger(f"kairos.plugins.{request['name']}")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_ToDaemon(channel))
    context = PluginContext(request["config"], _ChildModels(calls), _ChildStorage(calls), _ChildHttp(calls), log)
    return PluginTask(context=context, **given)


class _Calls:
    """Calls that the daemon makes on behalf of the plugin."""

    def __init__(self, channel: child_ipc.Channel) -> None:
        self._channel = channel

    def __call__(self, method: str, **arguments: Any) -> Any:
        """Call a method. Raises `CallFailed`, and `TypeError` or `ValueError` for arguments that cannot be sent."""
        reply = self._channel.call({"call": method, "arguments": arguments})
        if error := reply.get("error"):
            raise CallFailed(error["message"], error["code"], retryable=error["retryable"], number=error["number"])
        return reply["value"]


class _ChildModels:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def complete(self, prompt: Any, **options: Any) -> Answer:
        return Answer(**self._calls("llm.complete", prompt=prompt, **options))


class _ChildStorage:
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


class _ChildHttp:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def get_json(self, url: str, **options: Any) -> Any:
        return self._calls("http.get_json", url=url, **options)

    def get_text(self, url: str, **options: Any) -> str:
        return self._calls("http.get_text", url=url, **options)

    def post_json(self, url: str, value: Any, **options: Any) -> Any:
        return self._calls("http.post_json", url=url, value=value, **options)


class _ToDaemon(logging.Handler):
    """Forwards log records to the daemon."""

    def __init__(self, channel: child_ipc.Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send({"log": record.levelno, "message": self.format(record)})
        except Exception:
            self.handleError(record)


if __name__ == "__main__":
    main()
