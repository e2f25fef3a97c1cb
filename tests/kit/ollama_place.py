"""The Ollama of tests: the imitation of the kit, or a real one at `KAIROS_TEST_OLLAMA_URL`; a base and adapters."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest

from kairos.embedded.model import SHA256, check_weights
from kairos.fine_tuning.adapters.ollama import OllamaAdapters
from kairos.fine_tuning.adapters.ollama_calls import OllamaCalls
from kairos.fine_tuning.adapters.ollama_names import adapter_name, alias_name
from kairos.fine_tuning.adapters.serving import ServedAdapter
from kairos.http import HttpClient
from kairos.llm.catalog.catalog import FREE, AdapterHost, Model
from kairos.tenancy import ProjectId, new_id
from tests.kit.lora_file import WIDTH, write_lora
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import adapter_file, base_file, sha256

URL = os.environ.get("KAIROS_TEST_OLLAMA_URL", "").rstrip("/")
PROMPTS = ("Where is the key?", "Who signs the lease?")


@dataclass(slots=True)
class OllamaPlace:
    """An Ollama with one base, and a folder for adapters. Both are cleared when the test ends."""

    http: HttpClient
    folder: Path
    address: str
    kit: OllamaServer | None
    base: Model
    project: ProjectId = field(default_factory=lambda: ProjectId(uuid4()))
    made: list[ServedAdapter] = field(default_factory=list)

    @property
    def calls(self) -> OllamaCalls:
        return OllamaCalls(self.http, self.address)

    def host(self) -> OllamaAdapters:
        return OllamaAdapters(self.http)

    def adapter(self, text: str = "corrected", version: int = 1, *, fits: bool = True) -> ServedAdapter:
        """Return an adapter whose answers differ from those of the base. Each `text` gives another file."""
        file = self.folder / f"{text}-{version}-{fits}.gguf"
        if self.kit:
            file.write_bytes(adapter_file(f"{text} {version}", shape=64 if fits else 63))
        else:
            write_lora(
                file, random.Random(f"{text} {version}").getrandbits(31), scale=4.0, width=WIDTH - 64 * (not fits)
            )
        return self.of_file(file, version)

    def of_file(self, file: Path, version: int = 1, base: Model | None = None) -> ServedAdapter:
        digest = sha256(file.read_bytes())
        made = ServedAdapter(new_id(), self.project, base or self.base, version, file, digest, PROMPTS)
        self.made.append(made)
        return made

    def base_as_adapter(self) -> ServedAdapter:
        """Return an adapter that consists of the file of the base model."""
        if not self.kit:
            return self.of_file(check_weights())
        file = self.folder / "base.gguf"
        file.write_bytes(base_file())
        return self.of_file(file)

    def renamed(self, upstream: str) -> Model:
        return replace(self.base, name=f"other-{upstream}".lower(), upstream=upstream)

    async def clear(self) -> None:
        """Delete the models made by the test, so that a real Ollama is left as it was."""
        for adapter in self.made:
            await self.calls.delete(alias_name(adapter.project_id, adapter.base))
            await self.calls.delete(adapter_name(adapter))
        await self.calls.delete(self.base.upstream)


@asynccontextmanager
async def ollama_kit(folder: Path, family: str = "llama", load_s: float = 0.0) -> AsyncIterator[OllamaPlace]:
    """Yield the imitation, which fails on demand."""
    async with HttpClient() as http, OllamaServer(load_s) as server:
        server.store.add_base("smol", base_file(family))
        yield OllamaPlace(http, folder, server.address, server, _base(server.address, "smol"))


@asynccontextmanager
async def ollama_place(folder: Path) -> AsyncIterator[OllamaPlace]:
    """Yield the real Ollama if its address is given, else the imitation."""
    if not URL:
        async with ollama_kit(folder) as place:
            yield place
        return
    pytest.importorskip("gguf", reason="writing an adapter for a real Ollama takes the package gguf")
    name = f"kairos-test-{uuid4().hex[:8]}"
    async with HttpClient() as http:
        place = OllamaPlace(http, folder, URL, None, _base(URL, name))
        if not await place.calls.has_blob(SHA256):
            await place.calls.upload(SHA256, check_weights())
        files = {"base.gguf": f"sha256:{SHA256}"}
        await http.post_json(f"{URL}/api/create", {"model": name, "files": files, "stream": False})
        try:
            yield place
        finally:
            await place.clear()


def _base(address: str, name: str) -> Model:
    return Model(name, f"{name}:latest", f"{address}/v1", local=True, price=FREE, adapter_host=AdapterHost.OLLAMA)
