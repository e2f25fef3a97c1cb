"""One protocol with a scripted server and the real client: `async with bench_of("ollama", folder) as bench`."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from kairos.agents.registry import AgentRegistry
from kairos.config import PluginSettings
from kairos.db.engine import Database
from kairos.http import HttpClient
from kairos.llm.calls.providers import CallLimits, ChatRequest, Completion, ModelCallError, Providers
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.llm_router import LLMRouter
from kairos.plugins.plugin_loader import PluginLoader
from kairos.plugins.task_context import PluginServices
from tests.kit.model_calls import HELLO, KEY
from tests.kit.provider_kinds import KINDS, Kind, Script, Seen
from tests.kit.scripted_server import ScriptedServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "CohereProvider.py"
LIMITS = CallLimits(first_token_s=30, idle_s=30, usage_s=10, answer_bytes=20_000)
SHORT = CallLimits(first_token_s=0.5, idle_s=0.3, usage_s=0.2)


@dataclass(slots=True)
class Bench:
    """A server that is scripted in the terms of its protocol, and what a call to it returns."""

    kind: Kind
    server: ScriptedServer
    http: HttpClient
    providers: Providers
    model: Model
    deltas: list[str] = field(default_factory=list)

    def script(self, script: Script = Script()) -> None:
        """Script the next streamed answer."""
        self.server.reply(*self.kind.stream(script))

    async def chat(self, request: ChatRequest = HELLO, **changes: Any) -> Completion:
        async def on_delta(text: str) -> None:
            self.deltas.append(text)

        return await self.providers.chat(replace(self.model, **changes), request, timeout_s=60, on_delta=on_delta)

    async def failed(self, kind: type[ModelCallError], request: ChatRequest = HELLO) -> ModelCallError:
        """Return the error of a call that fails; it never contains the key."""
        with pytest.raises(kind) as caught:
            await self.chat(request)
        assert KEY not in str(caught.value)
        return caught.value

    @property
    def seen(self) -> Seen:
        """What the server found in the last request."""
        return self.kind.seen(self.server.last.headers, self.server.last.body)


@asynccontextmanager
async def bench_of(protocol: str, folder: Path, limits: CallLimits = LIMITS) -> AsyncIterator[Bench]:
    """Yield a bench; the provider of a plugin is loaded from a folder, as a daemon does."""
    kind = KINDS[protocol]
    async with ScriptedServer() as server, HttpClient() as http:
        providers = Providers(http, limits)
        base_url = kind.base_url(server.address)
        model = Model("mine", "up", base_url, api_key=KEY, protocol=protocol, local=True, context=4096)
        async with plugins_loaded(providers, http, folder, EXAMPLE if protocol.startswith("plugin:") else None):
            yield Bench(kind, server, http, providers, model)


@asynccontextmanager
async def plugins_loaded(
    providers: Providers, http: HttpClient, folder: Path, file: Path | None
) -> AsyncIterator[PluginLoader]:
    """Load a plugin file from a folder of plugins into the providers."""
    services = PluginServices(cast(LLMRouter, None), cast(Database, None), http)
    settings = PluginSettings(folder=folder / "plugins", memory_mb=128, probe_s=30)
    loader = PluginLoader(settings, AgentRegistry(), services, providers.replace_plugins)
    try:
        if file is not None:
            (folder / "plugins").mkdir(exist_ok=True)
            shutil.copy(file, folder / "plugins")
            await loader.reload()
        yield loader
    finally:
        await loader.close()
