"""Polls model servers for the context that they actually serve.

Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md (`/api/ps`, `/api/show`). vLLM and llama.cpp report it in
their list of models, llama.cpp also at `/props`, LM Studio at `/api/v0/models`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kairos.background_tasks import every
from kairos.http import HttpClient, HttpError, HttpLimits, joined, server_root
from kairos.llm.calls.model_traits import MIN_CONTEXT, ModelTraits
from kairos.llm.calls.ollama_traits import traits
from kairos.llm.calls.provider_errors import UnknownProtocol
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import AdapterHost, Model

log = logging.getLogger(__name__)

INTERVAL_S = 20.0
LIMITS = HttpLimits(connect_s=1.0, first_byte_s=2.0, idle_s=2.0, total_s=3.0)
OLLAMA_DEFAULT = 4096
"""Ollama's context for a model that is not loaded and sets none, unless OLLAMA_CONTEXT_LENGTH overrides it."""
CLOUD_CONTEXT = 32_768
"""Context of a cloud model whose entry names none: cloud servers refuse longer prompts and truncate nothing."""
MAX_CONTEXT = 100_000_000
MAX_DESCRIBED = 200
"""Maximum number of models of one server that are asked for one by one."""


@dataclass(frozen=True, slots=True)
class ServedContext:
    """The context that a server reports for a model."""

    context: int
    certain: bool = True
    """False for Ollama's default, which its environment may override. It is known once the model is loaded."""


class ModelContexts:
    """The context of each model: the smallest of the declared one, the served one, and the one that calls revealed."""

    def __init__(self, traits: ModelTraits) -> None:
        self._traits = traits
        self._served: dict[tuple[str, str, str], ServedContext] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called when a server reports a different context."""

    def of(self, model: Model) -> int:
        """Return the context of a model in tokens of prompt and answer together."""
        served = self._served.get(_key(model))
        found = self._traits.of(model).context
        known = model.context_declared or self_hosted(model) or model.protocol == "ollama"  # which sends it as num_ctx
        context = model.context if known else CLOUD_CONTEXT
        if served and (served.certain or not model.context_declared):
            context = min(model.context, served.context) if model.context_declared else served.context
        return context if found is None else min(context, found)

    def served(self, model: Model) -> int | None:
        """Return the context that the server reports with certainty; None if it reports none."""
        served = self._served.get(_key(model))
        return served.context if served and served.certain else None

    def update(self, model: Model, served: ServedContext) -> None:
        """Save the context that a server reports. What calls revealed earlier is discarded if it has changed."""
        before = self._served.get(_key(model))
        if served == before or (before and before.certain and not served.certain):
            return  # unloaded: it will probably be loaded with the same context
        self._served[_key(model)] = served
        if served.certain and (before is None or not before.certain or before.context != served.context):
            self._discard_found(model, served.context)
        log.info("model %s: the server has a context of %d tokens", model.name, served.context)
        self.changed()

    def keep(self, models: Iterable[Model]) -> None:
        """Forget the contexts of all other models."""
        keys = {_key(model) for model in models}
        self._served = {key: served for key, served in self._served.items() if key in keys}

    def _discard_found(self, model: Model, context: int) -> None:
        """Discard the context that calls revealed, even if none is known here: an earlier process may have saved
        one."""
        if self._traits.of(model).context != context:
            self._traits.discard_context(model)


class ContextPoller:
    """Polls the servers that the operator hosts; cloud providers are not polled."""

    def __init__(
        self,
        providers: Providers,
        http: HttpClient,
        contexts: ModelContexts,
        models: Callable[[], Iterable[Model]],
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`models` returns the current models, because adapters come and go."""
        self._providers = providers
        self._http = http
        self._contexts = contexts
        self._models = models
        self._interval_s = interval_s

    async def run(self) -> None:
        """Poll until cancelled. Runs as a background task of the daemon."""
        await every(self._interval_s, self.poll)

    async def poll(self) -> None:
        """Poll every server once, concurrently."""
        servers: defaultdict[tuple[str, str | None, str], list[Model]] = defaultdict(list)
        for model in self._models():
            if model.adapter_host is not AdapterHost.EMBEDDED and self_hosted(model) and not model.public_only:
                servers[model.base_url, model.api_key, model.protocol].append(model)
        await asyncio.gather(*(self._ask(base_url, models) for (base_url, _, _), models in servers.items()))

    async def _ask(self, base_url: str, models: list[Model]) -> None:
        if models[0].protocol != "openai":
            for model in models[:MAX_DESCRIBED]:
                await self._describe(model)
            return
        loaded = _rows(await self._json(models[0], _root(base_url, "api/ps")), "models")
        for model in models:
            if not any(model is now for now in self._models()):
                continue  # removed, or with another key now
            found = None
            if loaded is not None:
                found = await self._of_ollama(model, loaded)
            elif len(models) <= 200:
                found = await self._of_others(model)
            if found is not None:
                self._contexts.update(model, found)

    async def _describe(self, model: Model) -> None:
        """Save the context that a provider reports. Ollama's protocol loads a model with the context of its entry, and
        at most with the one that it was trained for."""
        with suppress(HttpError, UnknownProtocol):
            described = await self._providers.describe(model, timeout_s=LIMITS.total_s or LIMITS.idle_s)
            if described.context is not None and described.context >= MIN_CONTEXT:
                self._contexts.update(model, ServedContext(min(model.context, described.context)))

    async def _of_ollama(self, model: Model, loaded: list[Mapping[str, Any]]) -> ServedContext | None:
        names = {model.upstream, f"{model.upstream}:latest"}
        for row in loaded:
            if names & {row.get("name"), row.get("model")} and (context := _tokens(row.get("context_length"))):
                return ServedContext(context)
        url = _root(model.base_url, "api/show")
        try:
            shown = await self._http.post_json(
                url, {"model": model.upstream}, token=model.api_key, headers=model.headers, limits=LIMITS, ca=model.ca
            )
        except HttpError:
            return None
        return _shown(shown) if isinstance(shown, Mapping) else None

    async def _of_others(self, model: Model) -> ServedContext | None:
        rows = _rows(await self._json(model, joined(model.base_url, "models")), "data") or []
        row = next((row for row in rows if row.get("id") == model.upstream), {})
        if context := _tokens(row.get("max_model_len")):  # vLLM
            return ServedContext(context)
        if row.get("owned_by") == "llamacpp":
            props = await self._json(model, _root(model.base_url, "props"))
            settings = props.get("default_generation_settings") if isinstance(props, Mapping) else None
            context = _tokens(settings.get("n_ctx")) if isinstance(settings, Mapping) else None
            return ServedContext(context) if context else None
        if row.get("owned_by") == "organization_owner":
            rows = _rows(await self._json(model, _root(model.base_url, "api/v0/models")), "data") or []
            row = next((row for row in rows if row.get("id") == model.upstream), {})
            context = _tokens(row.get("loaded_context_length"))
            return ServedContext(context) if context else None
        return None

    async def _json(self, model: Model, url: str) -> Any:
        try:
            return await self._http.get_json(
                url, token=model.api_key, headers=model.headers, limits=LIMITS, ca=model.ca
            )
        except HttpError:
            return None


def self_hosted(model: Model) -> bool:
    """Whether its server is probably hosted by the operator."""
    return model.local or model.base_url.startswith("http://")


def _shown(shown: Mapping[str, Any]) -> ServedContext | None:
    """Parse the reply of `/api/show` for a model that is not loaded."""
    trained = _tokens(traits(shown).context)
    if "remote_host" in shown:  # a model of Ollama's cloud
        return ServedContext(trained) if trained else None
    set_to = re.search(r"^num_ctx\s+(\d{1,9})\s*$", str(shown.get("parameters") or "")[:10_000], re.MULTILINE)
    wanted = _tokens(int(set_to[1])) if set_to else None
    limits = [tokens for tokens in (wanted or OLLAMA_DEFAULT, trained) if tokens]
    return ServedContext(min(limits), certain=wanted is not None)


def _key(model: Model) -> tuple[str, str, str]:
    return model.base_url, model.upstream, model.protocol


def _rows(value: Any, name: str) -> list[Mapping[str, Any]] | None:
    rows = value.get(name) if isinstance(value, Mapping) else None
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else None


def _tokens(value: Any) -> int | None:
    return value if type(value) is int and MIN_CONTEXT <= value <= MAX_CONTEXT else None


def _root(base_url: str, path: str) -> str:
    return joined(server_root(base_url), path)
