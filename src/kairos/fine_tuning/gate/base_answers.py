"""Keeps the base's answers to built-in prompts, so that each is asked once per base and not once per run.

One file per base, in the models folder that the replicas share:

base_answers/<hash of the base>.jsonl   {"key": hash of the request, "at": epoch s, "text": …, "finish_reason": …}

Only built-in prompts are kept, with the agent's system prompt: no project's data. A lost or damaged file costs time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import AdapterHost, Model

log = logging.getLogger(__name__)

FOLDER = "base_answers"
MOST_BYTES = 16 * 2**20
"""A larger file is started anew."""
FRESH_S = 7 * 86_400.0
"""Older answers are asked again: a server may have changed."""


@dataclass(frozen=True, slots=True)
class BaseAnswer:
    """An answer of a base model, and why it ended."""

    text: str
    finish_reason: str | None


class BaseAnswers:
    """The known answers of one base."""

    def __init__(self, folder: Path, base: str) -> None:
        """`base` identifies the weights and their server: answers of another server would not be comparable."""
        self._path = folder / FOLDER / f"{hashlib.sha256(base.encode()).hexdigest()[:24]}.jsonl"
        self._known: dict[str, BaseAnswer] | None = None
        self._reading = asyncio.Lock()

    async def get(self, request: ChatRequest, ask: Callable[[], Awaitable[BaseAnswer]]) -> BaseAnswer:
        """Return the known answer to the request, or ask for it and keep it. Raises what `ask` raises."""
        async with self._reading:
            if self._known is None:
                self._known = await asyncio.to_thread(lambda: dict(_read(self._path)))
        key, known = _key(request), self._known
        if key not in known:
            answer = known[key] = await ask()
            line = {"key": key, "at": round(time.time()), "text": answer.text, "finish_reason": answer.finish_reason}
            await asyncio.to_thread(_append, self._path, line)
        return known[key]


def identity_of(base: Model) -> str:
    """Return what identifies a base for its answers: the file of its weights, and its server."""
    weights = Path(base.weights) if base.weights else None
    file = [str(weights), weights.stat().st_size, weights.stat().st_mtime_ns] if weights and weights.is_file() else []
    if base.adapter_host is AdapterHost.EMBEDDED:  # at another port after each start
        return repr(["llama.cpp", metadata.version("xllamacpp"), *file])
    return repr([base.protocol, base.base_url, base.upstream, *file])


def _key(request: ChatRequest) -> str:
    settings = [request.messages, request.temperature, request.seed, request.max_tokens]
    return hashlib.sha256(orjson.dumps(settings)).hexdigest()[:24]


def _read(path: Path) -> Iterator[tuple[str, BaseAnswer]]:
    oldest = time.time() - FRESH_S
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(orjson.JSONDecodeError, KeyError, TypeError):  # a torn line
                found = orjson.loads(line)
                if found["at"] > oldest:
                    yield found["key"], BaseAnswer(str(found["text"]), found["finish_reason"])


def _append(path: Path, line: dict[str, Any]) -> None:
    """Append in one write, as other replicas append too. A full disk only costs the answer."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if path.exists() and path.stat().st_size > MOST_BYTES:
            flags |= os.O_TRUNC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, b"\n" + orjson.dumps(line) + b"\n")
        finally:
            os.close(descriptor)
    except OSError as error:
        log.warning("cannot keep an answer of the base in %s: %s", path, error)
