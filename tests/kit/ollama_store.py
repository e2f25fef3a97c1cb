"""Disk and memory of the imitated Ollama: blobs, models by name, and one runner for each base file.

Imitates the observed behaviour of the versions 0.6.5, 0.12.6 and 0.17.4. A base and an adapter are small JSON files,
made by `base_file` and `adapter_file`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kairos.fine_tuning.adapters.ollama_calls import full_name
from tests.kit.breakable_server import ServerFault

ENGINES_WITHOUT_ADAPTERS = frozenset({"gemma3", "mistral3", "qwen3"})


def base_file(family: str = "llama", shape: int = 64, text: str = "base") -> bytes:
    return json.dumps({"kind": "base", "family": family, "shape": shape, "text": text}).encode()


def adapter_file(text: str, shape: int = 64) -> bytes:
    """Return an adapter that puts `text` before the answer of the base. An empty text changes nothing."""
    return json.dumps({"kind": "adapter", "shape": shape, "text": text}).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The blobs of a model, by their sha256."""

    base: str
    adapters: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return sha256(json.dumps([self.base, self.adapters]).encode())


@dataclass(slots=True)
class Runner:
    """The one loaded copy of a base file. Loading another model waits for the running answers."""

    loaded: tuple[Manifest, Any] | None = None
    """The loaded manifest and `num_ctx`: another `num_ctx` takes another load."""
    answering: int = 0
    waiting: int = 0
    idle: asyncio.Condition = field(default_factory=asyncio.Condition)


class OllamaStore:
    """Disk and memory of an Ollama, without HTTP."""

    def __init__(self, load_s: float = 0.0) -> None:
        self.load_s = load_s
        """Seconds for loading a model."""
        self.blobs: dict[str, bytes] = {}
        self.models: dict[str, Manifest] = {}
        self.runners: dict[str, Runner] = {}
        self.loads: list[str] = []
        """The names of the loaded models, in order."""
        self.pulls: list[str] = []
        """The names that a real Ollama would have fetched from the internet."""

    def put(self, content: bytes) -> str:
        digest = sha256(content)
        self.blobs[digest] = content
        return digest

    def add_base(self, name: str, content: bytes) -> Manifest:
        return self._name(name, Manifest(self.put(content)))

    def find(self, name: str) -> Manifest:
        manifest = self.models.get(full_name(name))
        if manifest is None:
            raise ServerFault(404, f"model '{name}' not found")
        return manifest

    def create(self, name: str, source: str | None, files: dict[str, str], adapters: dict[str, str]) -> Manifest:
        """Create a model. Of an adapter, only the existence of its blob is checked."""
        for digest in (*files.values(), *adapters.values()):
            if digest.removeprefix("sha256:") not in self.blobs:
                raise ServerFault(400, f"invalid digest: {digest} not found")
        if source is None:
            if len(files) != 1:
                raise ServerFault(400, "neither 'from' or 'files' was specified")
            return self._name(name, Manifest(next(iter(files.values())).removeprefix("sha256:")))
        if full_name(source) not in self.models:
            self.pulls.append(source)
            raise ServerFault(500, f"pull model manifest: Get https://registry.ollama.ai/v2/{source}: no such host")
        if len(adapters) > 1:
            raise ServerFault(400, "only one adapter is currently supported")
        below = self.find(source)
        more = tuple(digest.removeprefix("sha256:") for digest in adapters.values())
        return self._name(name, Manifest(below.base, below.adapters + more))

    def copy(self, source: str, destination: str) -> None:
        self._name(destination, self.find(source))

    def delete(self, name: str) -> None:
        gone = self.find(name)
        del self.models[full_name(name)]
        self._drop(gone)

    def restart(self) -> None:
        """Clear the memory, and delete blobs that no model uses."""
        self.runners.clear()
        used = {digest for manifest in self.models.values() for digest in (manifest.base, *manifest.adapters)}
        self.blobs = {digest: content for digest, content in self.blobs.items() if digest in used}

    def runner(self, name: str) -> Runner:
        return self.runners.setdefault(self.find(name).base, Runner())

    @asynccontextmanager
    async def loaded(self, name: str, options: dict[str, Any]) -> AsyncIterator[float]:
        """Keep the model loaded until the answer is sent. Yields the seconds for waiting and loading."""
        wanted = (self.find(name), options.get("num_ctx"))
        runner, began = self.runner(name), time.monotonic()
        async with runner.idle:
            runner.waiting += 1
            try:
                await runner.idle.wait_for(lambda: runner.loaded == wanted or not runner.answering)
            finally:
                runner.waiting -= 1
            if runner.loaded != wanted:
                runner.loaded = None
                self._check_loadable(wanted[0])
                await asyncio.sleep(self.load_s)
                runner.loaded = wanted
                self.loads.append(name)
            runner.answering += 1
        try:
            yield time.monotonic() - began
        finally:
            runner.answering -= 1
            async with runner.idle:
                runner.idle.notify_all()

    def answer(self, name: str, prompt: str) -> str:
        manifest = self.find(name)
        parts = [self._read(digest) for digest in manifest.adapters]
        texts = [part["text"] for part in parts if part["kind"] == "adapter" and part["text"]]
        return " ".join([*texts, self._read(manifest.base)["text"], "answers", prompt])

    def size(self, manifest: Manifest) -> int:
        """Return the bytes of all its blobs."""
        return sum(len(self.blobs[digest]) for digest in (manifest.base, *manifest.adapters))

    def in_memory(self) -> list[tuple[str, int | None]]:
        """Return the names of loaded models, with their `num_ctx`."""
        loaded = [runner.loaded for runner in self.runners.values() if runner.loaded]
        return [(name, context) for name, own in self.models.items() for manifest, context in loaded if manifest == own]

    def family(self, manifest: Manifest) -> str:
        return self._read(manifest.base).get("family", "llama")

    def _check_loadable(self, manifest: Manifest) -> None:
        base = self._read(manifest.base)
        if manifest.adapters and base["family"] in ENGINES_WITHOUT_ADAPTERS:
            raise ServerFault(500, "failed to initialize model: loras are not yet implemented")
        for digest in manifest.adapters:
            if self._read(digest)["shape"] != base["shape"]:
                raise ServerFault(500, "llama runner process has terminated: error loading adapter: wrong shape")

    def _read(self, digest: str) -> dict[str, Any]:
        return json.loads(self.blobs[digest])

    def _name(self, name: str, manifest: Manifest) -> Manifest:
        overwritten = self.models.get(full_name(name))
        self.models[full_name(name)] = manifest
        if overwritten:
            self._drop(overwritten)
        return manifest

    def _drop(self, manifest: Manifest) -> None:
        """Delete the blobs of a deleted manifest that no other model uses."""
        used = {digest for other in self.models.values() for digest in (other.base, *other.adapters)}
        for digest in {manifest.base, *manifest.adapters} - used:
            self.blobs.pop(digest, None)
