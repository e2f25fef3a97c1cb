"""Adapters on Ollama, each as a model made from the plain base and the adapter's file.

    host = OllamaAdapters(http)
    for serving in await host.serve(adapters): serving.model or serving.problem

Ollama validates little when a model is created: a file of the wrong shape fails at the first chat, and an adapter
without effect is not detected. So each is probed before use: at temperature 0 it must answer a training prompt
differently from its base. This behaviour was observed in Ollama 0.6.5, 0.12.6 and 0.17.4.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kairos.errors import KairosError
from kairos.fine_tuning.adapters.effect import NO_PROMPT, EffectProbe
from kairos.fine_tuning.adapters.ollama_calls import OllamaCalls, address_of, full_name
from kairos.fine_tuning.adapters.ollama_names import adapter_name, alias_name, runner_of
from kairos.fine_tuning.adapters.serving import (
    AWAY,
    AdapterNotRemoved,
    ServedAdapter,
    Serving,
    clause,
    serve_by_server,
    served_name,
)
from kairos.http import HttpClient, HttpError, HttpStatus, HttpTimeout, plain_address
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

__all__ = ["AliasNotMoved", "OllamaAdapters", "runner_of"]

PROMPTS_TRIED = 4
"""An adapter that answers this many training prompts like its base has no effect."""
LOADS_AGAIN_S = 300.0
"""Pause before an adapter that failed to load is probed again, as each probe unloads the base."""
BAD_REQUEST = 400
REFUSES_ADAPTERS = "loras are not yet implemented"


class AliasNotMoved(KairosError):
    """{alias} at Ollama {address} is unchanged: {reason}. Check that this Ollama runs, and try again."""

    status, code, exit_code = 502, "alias_not_moved", 3
    retryable = True


class _AdapterRefused(Exception):
    """The adapter cannot be served; the message is shown to people."""


@dataclass(frozen=True, slots=True)
class _Deployment:
    """An adapter at one Ollama server, with the current digest of its base there."""

    address: str
    name: str
    sha256: str
    base_digest: str


class OllamaAdapters:
    """The host for adapters of all bases on Ollama. Only `remove` deletes anything."""

    def __init__(self, http: HttpClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._probes: dict[_Deployment, EffectProbe] = {}
        self._manifests: dict[_Deployment, str] = {}
        """Manifests known to contain the adapter's file."""
        self._serving = asyncio.Lock()

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve these adapters. Without changes, that takes one call per Ollama server. Raises nothing."""
        async with self._serving:
            return await serve_by_server(adapters, self._calls, self._serve_at)

    async def promote(self, adapter: ServedAdapter) -> None:
        """Point the alias to this adapter. Raises `AliasNotMoved`."""
        calls, alias = self._calls(adapter.base), alias_name(adapter.project_id, adapter.base)
        try:
            await calls.copy(adapter_name(adapter), alias)
        except HttpError as error:
            raise AliasNotMoved(alias=alias, address=_shown(calls), reason=clause(error)) from error

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Point an existing alias to the plain base, or delete it if the base is gone. Raises `AliasNotMoved`."""
        calls, alias = self._calls(base), alias_name(project_id, base)
        try:
            names = await calls.names()
            if alias not in names:
                return
            await (calls.copy(base.upstream, alias) if full_name(base.upstream) in names else calls.delete(alias))
        except HttpError as error:
            raise AliasNotMoved(alias=alias, address=_shown(calls), reason=clause(error)) from error

    async def remove(self, adapter: ServedAdapter) -> None:
        """Delete the adapter's model, and the alias if it is a copy. Raises `AdapterNotRemoved`."""
        calls, name = self._calls(adapter.base), adapter_name(adapter)
        alias = alias_name(adapter.project_id, adapter.base)
        try:
            names = await calls.names()
            if name not in names:
                return
            if names.get(alias) == names[name]:
                await calls.delete(alias)
            await calls.delete(name)
        except HttpError as error:
            reason = f"{clause(error)}. Check that this server runs, and delete the model there with `ollama rm {name}`"
            raise AdapterNotRemoved(name=name, server="Ollama", address=_shown(calls), reason=reason) from error

    def _calls(self, base: Model) -> OllamaCalls:
        return OllamaCalls(self._http, address_of(base), base.api_key)

    async def _serve_at(self, calls: OllamaCalls, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve adapters one at a time, as concurrent probes would unload each other's model from the shared runner."""
        try:
            names = await calls.names()
        except AWAY as error:
            return [Serving(adapter, None, _away(calls, error)) for adapter in adapters]
        except HttpError as error:
            problem = f"Ollama at {_shown(calls)} does not list its models: {clause(error)}. Kairos retries."
            return [Serving(adapter, None, problem) for adapter in adapters]
        return [await self._serve_one(calls, adapter, names) for adapter in adapters]

    async def _serve_one(self, calls: OllamaCalls, adapter: ServedAdapter, names: dict[str, str]) -> Serving:
        try:
            probe = await self._probed(calls, adapter, _deployment_of(calls, adapter, names), names)
        except _AdapterRefused as refusal:
            return Serving(adapter, None, str(refusal))
        except OSError as error:
            return Serving(adapter, None, f"{adapter.file} cannot be read: {error.strerror}. Train the adapter again.")
        except AWAY as error:
            return Serving(adapter, None, _away(calls, error))
        except HttpError as error:
            return Serving(adapter, None, _not_taken(calls, adapter, error))
        return Serving(adapter, None if probe.problem else _model(adapter), probe.problem)

    async def _probed(
        self, calls: OllamaCalls, adapter: ServedAdapter, deployment: _Deployment, names: dict[str, str]
    ) -> EffectProbe:
        """Return the adapter's valid or new probe result. After a successful probe, the model exists."""
        probe = self._probes.get(deployment)
        if probe and probe.problem and probe.again_at > self._clock():
            return probe
        try:
            await self._ensure(calls, adapter, deployment, names)
            if probe is None or probe.problem:
                probe = await self._probe(calls, adapter)
        except HttpStatus as error:
            if error.http_status != BAD_REQUEST:
                raise
            # Wait before a retry, which would upload the whole file again.
            probe = EffectProbe(_not_taken(calls, adapter, error), self._clock() + LOADS_AGAIN_S)
        self._probes[deployment] = probe
        return probe

    async def _ensure(
        self, calls: OllamaCalls, adapter: ServedAdapter, deployment: _Deployment, names: dict[str, str]
    ) -> None:
        """Upload the file and create the model, unless the model exists with this file."""
        manifest = names.get(deployment.name)
        if manifest is not None:
            if self._manifests.get(deployment) == manifest:
                return
            if await calls.adapters_of(deployment.name) == (adapter.sha256,):
                self._manifests[deployment] = manifest
                return
        base = adapter.base.upstream
        if await calls.adapters_of(base):
            raise _AdapterRefused(
                f"{base} at Ollama {_shown(calls)} already has an adapter, on which this one would be stacked. "
                "Set the plain base as the model's upstream."
            )
        if not await calls.has_blob(adapter.sha256):
            await calls.upload(adapter.sha256, adapter.file)
        await calls.create(deployment.name, base, adapter.sha256)

    async def _probe(self, calls: OllamaCalls, adapter: ServedAdapter) -> EffectProbe:
        """Probe whether the adapter answers differently from its base. The base answers all first, to save loads."""
        prompts = adapter.prompts[:PROMPTS_TRIED] or (NO_PROMPT,)
        base, name = adapter.base.upstream, adapter_name(adapter)
        plain = [await calls.chat(base, prompt) for prompt in prompts]
        try:
            for prompt, before in zip(prompts, plain, strict=True):
                if await calls.chat(name, prompt) != before or not adapter.prompts:
                    return EffectProbe(None)
        except HttpStatus as error:
            if REFUSES_ADAPTERS in error.reason:
                return EffectProbe(
                    f"Ollama does not support adapters for the family of {base} ({error.reason}). llama and qwen2 "
                    "work: choose such a base, and train the adapter on it."
                )
            if error.http_status < 500:
                raise
            return EffectProbe(
                f"Ollama at {_shown(calls)} cannot load {name} ({error.http_status}: {error.reason}). Its shape "
                f"does not match {base}: train it on the weights that Ollama serves. Kairos retries in some minutes.",
                self._clock() + LOADS_AGAIN_S,
            )
        except HttpTimeout as error:
            problem = (
                f"{name} at Ollama {_shown(calls)} does not answer: {clause(error)}. Kairos retries in some minutes."
            )
            return EffectProbe(problem, self._clock() + LOADS_AGAIN_S)
        return EffectProbe(
            f"{name} changes nothing: it answers {len(prompts)} of the prompts it was trained on as {base} does. "
            "Train it longer, or on more corrections."
        )


def _deployment_of(calls: OllamaCalls, adapter: ServedAdapter, names: dict[str, str]) -> _Deployment:
    """Return the deployment. Raises `_AdapterRefused` if the base is missing, as `create` would pull it."""
    base = adapter.base.upstream
    digest = names.get(full_name(base))
    if digest is None:
        raise _AdapterRefused(
            f"Ollama at {_shown(calls)} has no model {base}, the base of this adapter, and Kairos does not let it "
            f"fetch models from the internet: run `ollama pull {base}` there, or `ollama create {base}` from its file."
        )
    return _Deployment(calls.address, adapter_name(adapter), adapter.sha256, digest)


def _model(adapter: ServedAdapter) -> Model:
    return replace(
        adapter.base,
        name=served_name(adapter.base.name, adapter.project_id, adapter.version),
        upstream=adapter_name(adapter),
        runner=adapter.base.runner or runner_of(adapter.base),
        weights=None,
        adapter_host=None,
        project_id=adapter.project_id,
        base=adapter.base.name,
        share=1.0,
    )


def _shown(calls: OllamaCalls) -> str:
    return plain_address(calls.address)


def _away(calls: OllamaCalls, error: HttpError) -> str:
    return f"Ollama at {_shown(calls)} is unavailable ({clause(error)}). Kairos retries."


def _not_taken(calls: OllamaCalls, adapter: ServedAdapter, error: HttpError) -> str:
    return f"Ollama at {_shown(calls)} refused {adapter_name(adapter)}: {clause(error)}. Kairos retries."
