"""Adapters on Ollama: each is a model of its own there, made of the plain base and one file.

    host = OllamaAdapters(http)
    for serving in await host.serve(adapters): serving.model or serving.problem

Ollama checks next to nothing when a model is made: a file of the wrong shape shows at the first chat, one that changes
nothing never. So each is tried before it is called: at temperature 0 it must answer a prompt that it was trained on
differently from its base. All of it was seen in Ollama 0.6.5, 0.12.6 and 0.17.4.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kairos.errors import KairosError
from kairos.fine_tuning.adapters.ollama_calls import OllamaCalls, address_of, full_name
from kairos.fine_tuning.adapters.ollama_names import adapter_name, alias_name, runner_of
from kairos.fine_tuning.adapters.serving import ServedAdapter, Serving, served_name
from kairos.http import HttpClient, HttpCut, HttpError, HttpStatus, HttpTimeout, HttpUnreachable, plain_address
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

__all__ = ["AdapterNotRemoved", "AliasNotMoved", "OllamaAdapters", "runner_of"]

PROMPTS_TRIED = 4
"""An adapter that answers this many of its own prompts as its base does has learned nothing worth serving."""
LOADS_AGAIN_S = 300.0
"""Until one that could not be loaded is tried again: the memory may be free by then; each try unloads the base."""
BAD_REQUEST = 400
AWAY = (HttpUnreachable, HttpTimeout, HttpCut)
NO_PROMPT = "Hello"
REFUSES_ADAPTERS = "loras are not yet implemented"


class AliasNotMoved(KairosError):
    """{alias} at Ollama {address} still answers as before: {reason}. See that this Ollama runs, and try again."""

    status, code, exit_code = 502, "alias_not_moved", 3
    retryable = True


class AdapterNotRemoved(KairosError):
    """{name} could not be deleted at Ollama {address}: {reason}. See that this Ollama runs, and try again."""

    status, code, exit_code = 502, "adapter_not_removed", 3
    retryable = True


class _AdapterRefused(Exception):
    """The adapter cannot be served; the text is for a person."""


@dataclass(frozen=True, slots=True)
class _ProbeResult:
    """How the probe of an adapter came out."""

    problem: str | None
    again_at: float = math.inf
    """In seconds of the clock."""


@dataclass(frozen=True, slots=True)
class _Deployment:
    """An adapter at one Ollama, on the base that this Ollama has under the name now."""

    address: str
    name: str
    sha256: str
    base_digest: str


class OllamaAdapters:
    """The adapters of all bases that are served by an Ollama. It deletes nothing but what `remove` names."""

    def __init__(self, http: HttpClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._probes: dict[_Deployment, _ProbeResult] = {}
        self._manifests: dict[_Deployment, str] = {}
        """The manifest that was seen to hold the adapter's file."""
        self._serving = asyncio.Lock()

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve these. Only what changed costs more than one call for each Ollama; nothing is raised."""
        by_server: dict[tuple[str, str | None], list[ServedAdapter]] = {}
        for adapter in adapters:
            by_server.setdefault((address_of(adapter.base), adapter.base.api_key), []).append(adapter)
        async with self._serving:
            served = (self._serve_at(self._calls(group[0].base), group) for group in by_server.values())
            groups = await asyncio.gather(*served)
        found = {serving.adapter.id: serving for group in groups for serving in group}
        return [found[adapter.id] for adapter in adapters]

    async def promote(self, adapter: ServedAdapter) -> None:
        """The alias names this adapter from the next request on. Raises `AliasNotMoved`."""
        calls, alias = self._calls(adapter.base), alias_name(adapter.project_id, adapter.base)
        try:
            await calls.copy(adapter_name(adapter), alias)
        except HttpError as error:
            raise AliasNotMoved(alias=alias, address=_shown(calls), reason=_clause(error)) from error

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """An alias that there is names the plain base, or nothing if that is gone. Raises `AliasNotMoved`."""
        calls, alias = self._calls(base), alias_name(project_id, base)
        try:
            names = await calls.names()
            if alias not in names:
                return
            await (calls.copy(base.upstream, alias) if full_name(base.upstream) in names else calls.delete(alias))
        except HttpError as error:
            raise AliasNotMoved(alias=alias, address=_shown(calls), reason=_clause(error)) from error

    async def remove(self, adapter: ServedAdapter) -> None:
        """Delete its model, and the alias where that is the same one. Raises `AdapterNotRemoved`."""
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
            raise AdapterNotRemoved(name=name, address=_shown(calls), reason=_clause(error)) from error

    def _calls(self, base: Model) -> OllamaCalls:
        return OllamaCalls(self._http, address_of(base), base.api_key)

    async def _serve_at(self, calls: OllamaCalls, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """One after the other: they share runners, and two trials at once would unload each other's model."""
        try:
            names = await calls.names()
        except AWAY as error:
            return [Serving(adapter, None, _away(calls, error)) for adapter in adapters]
        except HttpError as error:
            problem = f"Ollama at {_shown(calls)} does not tell its models: {_clause(error)}; it is tried again."
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
    ) -> _ProbeResult:
        """The probe of the adapter, made now unless one still holds. The model is there after a good one."""
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
            # Not at once again: it would send the whole file to be refused every few seconds.
            probe = _ProbeResult(_not_taken(calls, adapter, error), self._clock() + LOADS_AGAIN_S)
        self._probes[deployment] = probe
        return probe

    async def _ensure(
        self, calls: OllamaCalls, adapter: ServedAdapter, deployment: _Deployment, names: dict[str, str]
    ) -> None:
        """See that the model is there with the adapter's file; upload and make it if not."""
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
                f"{base} at Ollama {_shown(calls)} has an adapter itself, on which another one would be stacked. "
                "Name the plain base as the model's upstream."
            )
        if not await calls.has_blob(adapter.sha256):
            await calls.upload(adapter.sha256, adapter.file)
        await calls.create(deployment.name, base, adapter.sha256)

    async def _probe(self, calls: OllamaCalls, adapter: ServedAdapter) -> _ProbeResult:
        """Whether it answers, and differently from its base. The base first with all prompts: two loads, not eight."""
        prompts = adapter.prompts[:PROMPTS_TRIED] or (NO_PROMPT,)
        base, name = adapter.base.upstream, adapter_name(adapter)
        plain = [await calls.chat(base, prompt) for prompt in prompts]
        try:
            for prompt, before in zip(prompts, plain, strict=True):
                if await calls.chat(name, prompt) != before or not adapter.prompts:
                    return _ProbeResult(None)
        except HttpStatus as error:
            if REFUSES_ADAPTERS in error.reason:
                return _ProbeResult(
                    f"Ollama serves no adapters for the family of {base} ({error.reason}). llama and qwen2 work: "
                    "choose a base of one of these, and train the adapter on it."
                )
            if error.http_status < 500:
                raise
            return _ProbeResult(
                f"Ollama at {_shown(calls)} cannot load {name} ({error.http_status}: {error.reason}). Its shape is not "
                f"that of {base}: train it on the weights that Ollama serves. It is tried again in some minutes.",
                self._clock() + LOADS_AGAIN_S,
            )
        except HttpTimeout as error:
            problem = (
                f"{name} at Ollama {_shown(calls)} does not answer: {_clause(error)}. It is tried again in minutes."
            )
            return _ProbeResult(problem, self._clock() + LOADS_AGAIN_S)
        return _ProbeResult(
            f"{name} changes nothing: it answers {len(prompts)} of the prompts it was trained on as {base} does. "
            "Train it longer, or on more corrections."
        )


def _deployment_of(calls: OllamaCalls, adapter: ServedAdapter, names: dict[str, str]) -> _Deployment:
    """Raises `_AdapterRefused` where the base is not there: `create` would have it pulled from the internet."""
    base = adapter.base.upstream
    digest = names.get(full_name(base))
    if digest is None:
        raise _AdapterRefused(
            f"Ollama at {_shown(calls)} has no model {base}, the base of this adapter, and is not left to fetch it "
            f"from the internet: run `ollama pull {base}` there, or `ollama create {base}` from its file."
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


def _clause(error: Exception) -> str:
    """An error's message inside another sentence."""
    return str(error).rstrip(".")


def _away(calls: OllamaCalls, error: HttpError) -> str:
    return f"Ollama at {_shown(calls)} is away ({_clause(error)}); it is tried again."


def _not_taken(calls: OllamaCalls, adapter: ServedAdapter, error: HttpError) -> str:
    return f"Ollama at {_shown(calls)} did not take {adapter_name(adapter)}: {_clause(error)}; it is tried again."
