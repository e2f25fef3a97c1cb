"""The servers of the adapter contract: each with one base, and adapters of two projects.

A scripted server stands in for each kind. Real ones are used if their address is given: `KAIROS_TEST_OLLAMA_URL`,
`KAIROS_TEST_VLLM_URL`, `KAIROS_TEST_LLAMACPP_URL` (see CONTRIBUTING.md). The embedded llama.cpp is always the real one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

import pytest

from kairos.embedded import EmbeddedEngines
from kairos.fine_tuning.adapters.adapters import GGUF
from kairos.fine_tuning.adapters.llama_cpp import EmbeddedAdapters
from kairos.fine_tuning.adapters.llama_server import LlamaServerAdapters
from kairos.fine_tuning.adapters.llama_server_calls import plain_base
from kairos.fine_tuning.adapters.ollama_calls import full_name
from kairos.fine_tuning.adapters.ollama_names import adapter_name
from kairos.fine_tuning.adapters.serving import AdapterNotRemoved, AdapterServer, ServedAdapter, served_name
from kairos.fine_tuning.adapters.vllm import VllmAdapters
from kairos.fine_tuning.adapters.vllm_calls import VllmCalls
from kairos.http import HttpClient
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import FREE, AdapterHost, Model
from kairos.tenancy import ProjectId, new_id
from tests.kit.conditions import eventually
from tests.kit.llama_server import LlamaServer
from tests.kit.lora_file import write_lora
from tests.kit.ollama_place import OllamaPlace, ollama_place
from tests.kit.peft_folder import write_peft
from tests.kit.real_llama_server import BASE, PROJECTS, USELESS, RealLlamaServer, adapter_folder, text_of
from tests.kit.vllm_server import VllmServer, peft_weights

VLLM_URL, VLLM_FOLDER, VLLM_KEY = (os.environ.get(f"KAIROS_TEST_VLLM_{name}", "") for name in ("URL", "FOLDER", "KEY"))
LLAMACPP_URL, LLAMACPP_KEY = (os.environ.get(f"KAIROS_TEST_LLAMACPP_{name}", "") for name in ("URL", "KEY"))
PROMPTS = ("Where is the key?", "Who signs the lease?")


class AdapterPlace(Protocol):
    """A server of adapters. Versions of one project, and adapters of different projects, answer differently."""

    http: HttpClient
    base: Model

    def host(self) -> AdapterServer:
        """Return a new host, as of another daemon."""
        ...

    def adapter(self, version: int = 1, project: int = 0) -> ServedAdapter: ...

    def useless(self) -> ServedAdapter:
        """Return an adapter that the server accepts and that changes nothing."""
        ...

    async def offer(self, *adapters: ServedAdapter) -> None:
        """Do what the operator of the server has to do before these adapters can be served."""
        ...

    async def delete(self, host: AdapterServer, adapter: ServedAdapter) -> None:
        """Remove an adapter, with what its operator has to do."""
        ...

    async def has(self, adapter: ServedAdapter) -> bool:
        """Return whether the server has the adapter."""
        ...

    async def take_name(self, adapter: ServedAdapter) -> None:
        """Put another adapter where this one is expected."""
        ...

    async def restart(self) -> None: ...

    async def stop(self) -> None: ...

    async def start(self) -> None: ...


async def answer_of(place: AdapterPlace, model: Model) -> str:
    """Return the beginning of a model's answer, called like any other model."""
    request = ChatRequest(({"role": "user", "content": PROMPTS[0]},), temperature=0, max_tokens=12)
    return (await Providers(place.http).chat(model, request, timeout_s=60)).text


def _not_ours() -> None:
    pytest.skip("a server given by its address is not restarted, stopped or changed by tests")


class OfOllama:
    """Ollama: the imitation, or a real one."""

    def __init__(self, place: OllamaPlace) -> None:
        self._place = place
        self._projects = (place.project, ProjectId(new_id()))
        self.http, self.base = place.http, place.base

    def host(self) -> AdapterServer:
        return self._place.host()

    def adapter(self, version: int = 1, project: int = 0) -> ServedAdapter:
        made = replace(self._place.adapter(f"of {project}", version), project_id=self._projects[project])
        self._place.made[-1] = made
        return made

    def useless(self) -> ServedAdapter:
        return self._place.base_as_adapter()

    async def offer(self, *adapters: ServedAdapter) -> None:
        pass

    async def delete(self, host: AdapterServer, adapter: ServedAdapter) -> None:
        await host.remove(adapter)

    async def has(self, adapter: ServedAdapter) -> bool:
        return full_name(adapter_name(adapter)) in await self._place.calls.names()

    async def take_name(self, adapter: ServedAdapter) -> None:
        await self._place.calls.copy(self.base.upstream, adapter_name(adapter))

    async def restart(self) -> None:
        await self._kit().restart()

    async def stop(self) -> None:
        await self._kit().close_port()

    async def start(self) -> None:
        await self._kit().open_port()

    def _kit(self):
        if self._place.kit is None:
            _not_ours()
        assert self._place.kit
        return self._place.kit


class OfVllm:
    """vLLM: the scripted one, which sees the folder of adapters under another path, or a real one."""

    def __init__(self, http: HttpClient, folder: Path, base: Model, kit: VllmServer | None, config: Path) -> None:
        self.http, self.base, self.kit = http, base, kit
        self._folder, self._config = folder, config
        self.calls = VllmCalls(http, base.base_url, base.api_key)
        self.made: list[ServedAdapter] = []

    def host(self) -> AdapterServer:
        return VllmAdapters(self.http)

    def adapter(self, version: int = 1, project: int = 0) -> ServedAdapter:
        return self.of(text_of(project, version), version, project)

    def useless(self) -> ServedAdapter:
        return self.of("of other modules", USELESS, fits=False)

    def of(self, text: str, version: int = 1, project: int = 0, *, shift=0.0, fits=True, rank=8) -> ServedAdapter:
        path = adapter_folder(project, version)
        folder = self._folder / path
        folder.mkdir(parents=True, exist_ok=True)
        if self.kit:
            (folder / "adapter_config.json").write_text(f'{{"r": {rank}}}')
            (folder / "adapter_model.safetensors").write_bytes(peft_weights(text, shift=shift, fits=fits))
        else:
            write_peft(folder, self._config, f"{project} {version}", scale=4.0 if fits else 0.0)
        (folder / GGUF).write_bytes(text.encode())
        made = ServedAdapter(
            new_id(), PROJECTS[project], self.base, version, folder / GGUF, f"sha of {text}", PROMPTS, path
        )
        self.made.append(made)
        return made

    async def offer(self, *adapters: ServedAdapter) -> None:
        pass

    async def delete(self, host: AdapterServer, adapter: ServedAdapter) -> None:
        await host.remove(adapter)

    async def has(self, adapter: ServedAdapter) -> bool:
        return self.name(adapter) in await self.calls.models()

    async def take_name(self, adapter: ServedAdapter) -> None:
        await self.calls.load(self.name(adapter), self.adapter(77).server_folder)

    async def restart(self) -> None:
        await self._kit().restart()

    async def stop(self) -> None:
        await self._kit().close_port()

    async def start(self) -> None:
        await self._kit().open_port()

    def name(self, adapter: ServedAdapter) -> str:
        return served_name(adapter.base.name, adapter.project_id, adapter.version)

    async def clear(self) -> None:
        """Unload the adapters made by the test, so that a real vLLM is left as it was."""
        for adapter in self.made:
            await self.calls.unload(self.name(adapter))

    def _kit(self) -> VllmServer:
        if self.kit is None:
            _not_ours()
        assert self.kit
        return self.kit


class OfLlamaServer:
    """A llama.cpp server by address: the scripted one, or a real one (`tests/kit/real_llama_server.py`)."""

    def __init__(self, http: HttpClient, folder: Path, base: Model, kit: LlamaServer | RealLlamaServer | None) -> None:
        self.http, self.base, self.kit = http, base, kit
        self._folder = folder

    def host(self) -> AdapterServer:
        return LlamaServerAdapters(self.http)

    def adapter(self, version: int = 1, project: int = 0) -> ServedAdapter:
        return self.of(text_of(project, version), version, project)

    def useless(self) -> ServedAdapter:
        return self.of(text_of(0, USELESS), USELESS)

    def of(self, text: str, version: int = 1, project: int = 0, *, shift: float = 0.0) -> ServedAdapter:
        path = adapter_folder(project, version)
        file = self._folder / path / GGUF
        if self.kit:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.kit.write(file, text, shift)
        return ServedAdapter(new_id(), PROJECTS[project], self.base, version, file, f"sha of {text}", PROMPTS, path)

    async def offer(self, *adapters: ServedAdapter) -> None:
        """Restart the server with these adapters. A real one has loaded those that the contract needs."""
        if self.kit:
            await self.kit.restart([f"{adapter.server_folder}/{GGUF}" for adapter in adapters])

    async def delete(self, host: AdapterServer, adapter: ServedAdapter) -> None:
        """A loaded adapter stays loaded until its operator restarts the server without it."""
        kit = self._kit()
        if await self.has(adapter):
            with pytest.raises(AdapterNotRemoved, match="Remove `--lora "):
                await host.remove(adapter)
            await kit.restart([path for path in kit.files if f"/{adapter.path}/" not in path])
        await host.remove(adapter)

    async def has(self, adapter: ServedAdapter) -> bool:
        loaded = await self.http.get_json(f"{self.base.base_url.removesuffix('/v1')}/lora-adapters")
        return any(f"/{adapter.path}/" in one["path"] for one in loaded)

    async def take_name(self, adapter: ServedAdapter) -> None:
        """Load a file of the same name in another project's folder, and give it the first number."""
        foreign = self.adapter(adapter.version, 1)
        await self._kit().restart([f"{one.server_folder}/{GGUF}" for one in (foreign, adapter)])

    async def restart(self) -> None:
        await self._kit().restart()

    async def stop(self) -> None:
        await self._kit().close_port()

    async def start(self) -> None:
        await self._kit().open_port()

    def _kit(self) -> LlamaServer | RealLlamaServer:
        if self.kit is None:
            _not_ours()
        assert self.kit
        return self.kit


class OfEmbedded:
    """The embedded llama.cpp, with real weights and random adapters."""

    def __init__(self, http: HttpClient, folder: Path, base: Model, engines: EmbeddedEngines) -> None:
        self.http, self.base = http, base
        self._folder, self._engines = folder, engines

    def host(self) -> AdapterServer:
        return EmbeddedAdapters(self._engines)

    def adapter(self, version: int = 1, project: int = 0) -> ServedAdapter:
        file = self._folder / f"{project}-{version}.gguf"
        write_lora(file, 10 * project + version, scale=4.0)
        return ServedAdapter(
            UUID(int=10 * project + version), PROJECTS[project], self.base, version, file, f"sha of {file.name}"
        )

    def useless(self) -> ServedAdapter:
        pytest.skip("the embedded host does not probe: it starts llama.cpp itself, with a file verified by hash")

    async def offer(self, *adapters: ServedAdapter) -> None:
        pass

    async def delete(self, host: AdapterServer, adapter: ServedAdapter) -> None:
        await host.remove(adapter)

    async def has(self, adapter: ServedAdapter) -> bool:
        return adapter.file in self._engines._adapters._files

    async def take_name(self, adapter: ServedAdapter) -> None:
        pytest.skip("no other program gives names to adapters of the embedded model")

    async def restart(self) -> None:
        serving = self._engines._adapters._serving
        assert serving
        assert serving.pid
        os.kill(serving.pid, signal.SIGKILL)
        await eventually(lambda: serving.state().state == "running" and serving.state().restarts > 0, 20, "it restarts")

    async def stop(self) -> None:
        pytest.skip("Kairos starts the embedded model's server again by itself")

    async def start(self) -> None:
        pass


@asynccontextmanager
async def of_ollama(folder: Path) -> AsyncIterator[AdapterPlace]:
    async with ollama_place(folder) as place:
        yield OfOllama(place)


@asynccontextmanager
async def vllm_kit(folder: Path) -> AsyncIterator[OfVllm]:
    """Yield the scripted vLLM, which sees the folder of adapters as `/adapters`."""
    async with HttpClient() as http, VllmServer("smol") as server:
        server.mounts["/adapters"] = folder
        base = Model(
            BASE, "smol", server.base_url, local=True, price=FREE, adapter_host=AdapterHost.VLLM,
            adapters_path="/adapters/",
        )  # fmt: skip
        yield OfVllm(http, folder, replace(base, context_declared=False), server, Path())


@asynccontextmanager
async def of_vllm(folder: Path) -> AsyncIterator[AdapterPlace]:
    if not VLLM_URL:
        async with vllm_kit(folder) as place:
            yield place
        return
    async with HttpClient() as http:
        calls = VllmCalls(http, VLLM_URL, VLLM_KEY or None)
        name, listed = next((name, one) for name, one in (await calls.models()).items() if one.parent is None)
        config = Path(listed.root or "") / "config.json"
        if not VLLM_FOLDER or not config.exists():
            pytest.skip("KAIROS_TEST_VLLM_FOLDER and the folder of the base must be readable here and at the server")
        base = Model(BASE, name, VLLM_URL, VLLM_KEY or None, local=True, price=FREE, adapter_host=AdapterHost.VLLM)
        real = OfVllm(http, Path(VLLM_FOLDER), base, None, config)
        try:
            yield real
        finally:
            await real.clear()


@asynccontextmanager
async def llama_kit(folder: Path) -> AsyncIterator[OfLlamaServer]:
    """Yield the scripted llama.cpp server."""
    async with HttpClient() as http, LlamaServer() as server:
        yield OfLlamaServer(http, folder, plain_base(_llama_base(server.base_url)), server)


@asynccontextmanager
async def of_llama_server(folder: Path) -> AsyncIterator[AdapterPlace]:
    if not LLAMACPP_URL:
        async with llama_kit(folder) as place:
            yield place
        return
    if LLAMACPP_URL == "start":
        async with HttpClient() as http, RealLlamaServer(http) as server:
            yield OfLlamaServer(http, folder, plain_base(_llama_base(server.base_url)), server)
        return
    async with HttpClient() as http:
        base = _llama_base(LLAMACPP_URL, LLAMACPP_KEY or None)
        yield OfLlamaServer(http, folder, plain_base(base), None)


def _llama_base(base_url: str, key: str | None = None) -> Model:
    return Model(BASE, BASE, base_url, key, local=True, price=FREE, adapter_host=AdapterHost.LLAMACPP)
