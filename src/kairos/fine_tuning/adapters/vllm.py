"""Adapters on a vLLM server: loaded at runtime from their folder, side by side with the base.

    host = VllmAdapters(http)
    for serving in await host.serve(adapters): serving.model or serving.problem

The server must be started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and see the folder of adapters.
It takes PEFT's files as they are. Three facts prove that an adapter is served: the name is listed, with the adapter's
folder as its root, and base and adapter answer a training prompt differently (`effect.py`). A restarted server has lost
all adapters; they are loaded again at the next call of `serve`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from kairos.fine_tuning.adapters.effect import EffectProbe, ProbeAnswer, has_effect
from kairos.fine_tuning.adapters.serving import (
    AWAY,
    AdapterNotRemoved,
    ServedAdapter,
    Serving,
    clause,
    serve_by_server,
    served_name,
)
from kairos.fine_tuning.adapters.vllm_calls import VllmCalls, VllmModel, away, refusal
from kairos.http import HttpClient, HttpError, HttpStatus
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

RETRY_S = 60.0
"""Pause before a refused adapter is loaded again. A server that was unavailable meanwhile is tried at once."""

Listed = dict[str, VllmModel]


@dataclass(frozen=True, slots=True)
class _VllmDeployment:
    """An adapter at one server."""

    base_url: str
    name: str
    sha256: str
    folder: str


class VllmAdapters:
    """The host for adapters of all bases on vLLM. Only `remove` unloads an adapter that has an effect."""

    def __init__(self, http: HttpClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._probes: dict[_VllmDeployment, EffectProbe] = {}
        self._serving = asyncio.Lock()

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve these adapters. Without changes, that takes one call per server. Raises nothing."""
        async with self._serving:
            return await serve_by_server(adapters, self._calls, self._serve_at)

    async def promote(self, adapter: ServedAdapter) -> None:
        """Do nothing: vLLM has no aliases, and a second name would take a second place for the same adapter."""

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Do nothing, as there is no alias."""

    async def remove(self, adapter: ServedAdapter) -> None:
        """Unload the adapter, if it is loaded. Raises `AdapterNotRemoved`."""
        calls, name = self._calls(adapter.base), _name(adapter)
        self._probes.pop(_deployment(calls, adapter), None)
        try:
            await calls.unload(name)
        except HttpError as error:
            reason = f"{clause(error)}. Check that this server runs; a restart unloads all adapters"
            raise AdapterNotRemoved(name=name, server="vLLM", address=calls.address, reason=reason) from error

    def _calls(self, base: Model) -> VllmCalls:
        return VllmCalls(self._http, base.base_url, base.api_key)

    async def _serve_at(self, calls: VllmCalls, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        try:
            listed = await calls.models()
        except AWAY as error:
            self._forget_refusals(calls)
            return [Serving(adapter, None, away(error, calls.address)) for adapter in adapters]
        except HttpError as error:
            problem = f"vLLM at {calls.address} does not list its models: {clause(error)}. Kairos retries."
            return [Serving(adapter, None, problem) for adapter in adapters]
        return [await self._serve_one(calls, adapter, listed) for adapter in adapters]

    async def _serve_one(self, calls: VllmCalls, adapter: ServedAdapter, listed: Listed) -> Serving:
        if problem := _base_problem(calls, adapter, listed) or _name_problem(calls, adapter, listed):
            return Serving(adapter, None, problem)
        deployment = _deployment(calls, adapter)
        before = self._probes.get(deployment)
        if before and before.problem and before.again_at > self._clock():
            return Serving(adapter, None, before.problem)
        loaded = _is_loaded(adapter, listed.get(_name(adapter)))
        if not loaded or before is None or before.problem:
            try:
                self._probes[deployment] = await self._load(calls, adapter, listed, loaded=loaded)
            except AWAY as error:
                self._probes.pop(deployment, None)
                return Serving(adapter, None, away(error, calls.address))
        if problem := self._probes[deployment].problem:
            return Serving(adapter, None, problem)
        model = _model(adapter, listed[adapter.base.upstream])
        return Serving(adapter, model, reloaded=not loaded and before is not None)

    async def _load(self, calls: VllmCalls, adapter: ServedAdapter, listed: Listed, *, loaded: bool) -> EffectProbe:
        """Load the adapter, unless it is loaded, and probe it. One that fails the probe is unloaded, so that nobody
        mistakes it for the trained model. Raises the errors of an unavailable server."""
        name = _name(adapter)
        try:
            if not loaded:
                if name in listed:  # loaded from another folder, before `adapters_path` was changed
                    await calls.unload(name)
                await calls.load(name, adapter.server_folder)
            problem = await _probed(calls, adapter)
        except AWAY:
            raise
        except HttpStatus as error:
            problem = refusal(error, calls.address, adapter.server_folder)
        except HttpError as error:
            problem = f"vLLM at {calls.address} does not answer as expected: {clause(error)}. Kairos retries."
        if problem is None:
            return EffectProbe(None)
        with suppress(HttpError):
            await calls.unload(name)
        return EffectProbe(problem, self._clock() + RETRY_S)

    def _forget_refusals(self, calls: VllmCalls) -> None:
        """Forget the refusals of a server that may come back with other options."""
        self._probes = {
            deployment: probe
            for deployment, probe in self._probes.items()
            if not (probe.problem and deployment.base_url == calls.base_url)
        }


async def _probed(calls: VllmCalls, adapter: ServedAdapter) -> str | None:
    """Return why the adapter is not served although it was accepted; None if it has an effect."""

    async def ask(model: str, prompt: str) -> ProbeAnswer:
        return await calls.probe.answer(model, prompt, adapter.base.body)

    base, name = adapter.base.upstream, _name(adapter)
    if await has_effect(partial(ask, base), partial(ask, name), adapter.prompts):
        return None
    return (
        f"{name} changes nothing at vLLM {calls.address}, although vLLM accepted it: it answers the prompts it was "
        f"trained on as {base} does. vLLM ignores an adapter whose modules have other names than the model it serves. "
        "Serve the weights that it was trained on, or train it longer. Kairos retries."
    )


def _base_problem(calls: VllmCalls, adapter: ServedAdapter, listed: Listed) -> str | None:
    base = adapter.base.upstream
    found = listed.get(base)
    if found is None:
        served = ", ".join(sorted(name for name, one in listed.items() if one.parent is None)) or "nothing"
        return f"vLLM at {calls.address} does not serve {base}, the base of this adapter. It serves {served}."
    if found.parent:
        return (
            f"{base} at vLLM {calls.address} is itself an adapter of {found.parent}. Set the plain base as the model's "
            "`upstream`."
        )
    return None


def _name_problem(calls: VllmCalls, adapter: ServedAdapter, listed: Listed) -> str | None:
    found = listed.get(_name(adapter))
    if found is None or found.parent or found.root is None or found.root == adapter.server_folder:
        return None
    return (
        f"vLLM at {calls.address} serves another model under the name of this adapter, {_name(adapter)}. Remove that "
        "name from its --served-model-name."
    )


def _is_loaded(adapter: ServedAdapter, found: VllmModel | None) -> bool:
    return found is not None and found.root in (None, adapter.server_folder)


def _name(adapter: ServedAdapter) -> str:
    """Return the adapter's name at the server: the one in the catalogue, which contains the project."""
    return served_name(adapter.base.name, adapter.project_id, adapter.version)


def _deployment(calls: VllmCalls, adapter: ServedAdapter) -> _VllmDeployment:
    return _VllmDeployment(calls.base_url, _name(adapter), adapter.sha256, adapter.server_folder)


def _model(adapter: ServedAdapter, base: VllmModel) -> Model:
    model = replace(
        adapter.base,
        name=_name(adapter),
        upstream=_name(adapter),
        project_id=adapter.project_id,
        base=adapter.base.name,
        weights=None,
        adapter_host=None,
        adapters_path=None,
        share=1.0,
    )
    if base.context is None:
        return model
    # vLLM lists the context of a base, but not of its adapters.
    context = min(model.context, base.context) if model.context_declared else base.context
    return replace(model, context=context, context_declared=True)
