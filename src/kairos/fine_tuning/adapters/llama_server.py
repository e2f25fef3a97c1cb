"""Adapters on a llama.cpp server by address, selected per request.

    host = LlamaServerAdapters(http)
    for serving in await host.serve(adapters): serving.model or serving.problem

The server loads adapters at its start only, so its operator restarts it for a new one; the problem of an adapter that
is not loaded contains the options to add. Requests name an adapter by its number, which is its place on the command
line. When the list changes, every adapter is found and probed again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kairos.fine_tuning.adapters.effect import EffectProbe, ProbeAnswer, has_effect
from kairos.fine_tuning.adapters.llama_server_calls import (
    NO_APPLY,
    LlamaServerCalls,
    LoadedAdapter,
    adapted,
    file_of,
    options,
    plain_base,
    server_file,
)
from kairos.fine_tuning.adapters.serving import (
    AWAY,
    AdapterNotRemoved,
    ServedAdapter,
    Serving,
    clause,
    serve_by_server,
    served_name,
)
from kairos.http import HttpClient, HttpError, HttpStatus
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

RETRY_S = 60.0
LOADING = 503
NO_SUCH_ROUTE = (404, 405, 501)

Loaded = tuple[LoadedAdapter, ...]


@dataclass(frozen=True, slots=True)
class _LlamaServerDeployment:
    """An adapter at one server, with the list of adapters that it has loaded."""

    base_url: str
    sha256: str
    loaded: tuple[tuple[int, str], ...]


class LlamaServerAdapters:
    """The host for adapters of all bases on llama.cpp servers. It changes nothing at a server."""

    def __init__(self, http: HttpClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._probes: dict[_LlamaServerDeployment, EffectProbe] = {}
        self._reported: dict[str, str] = {}
        """What was logged last about each server."""
        self._serving = asyncio.Lock()

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve these adapters. Without changes, that takes one call per server. Raises nothing."""
        async with self._serving:
            return await serve_by_server(adapters, self._calls, self._serve_at)

    async def promote(self, adapter: ServedAdapter) -> None:
        """Do nothing: a llama.cpp server has no aliases for adapters."""

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Do nothing, as there is no alias."""

    async def remove(self, adapter: ServedAdapter) -> None:
        """Check that the adapter is not loaded. Raises `AdapterNotRemoved` with what its operator has to do."""
        calls = self._calls(adapter.base)
        try:
            found = file_of(adapter, await calls.loaded())
        except HttpError as error:
            reason = f"{clause(error)}. If its command line loads this adapter, remove that option"
            raise self._not_removed(calls, adapter, reason) from error
        if found:
            reason = (
                f"it is loaded, but no request uses it. Remove `--lora {found.path}` from the server's command line: "
                "its next start fails without the file"
            )
            raise self._not_removed(calls, adapter, reason)

    def _not_removed(self, calls: LlamaServerCalls, adapter: ServedAdapter, reason: str) -> AdapterNotRemoved:
        return AdapterNotRemoved(name=_name(adapter), server="llama.cpp", address=calls.address, reason=reason)

    def _calls(self, base: Model) -> LlamaServerCalls:
        return LlamaServerCalls(self._http, base.base_url, base.api_key)

    async def _serve_at(self, calls: LlamaServerCalls, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        try:
            loaded = await calls.loaded()
        except HttpError as error:
            problem = _server_problem(error, calls)
            return [Serving(adapter, None, problem) for adapter in adapters]
        self._report(calls, adapters, loaded)
        return [await self._serve_one(calls, adapter, loaded) for adapter in adapters]

    async def _serve_one(self, calls: LlamaServerCalls, adapter: ServedAdapter, loaded: Loaded) -> Serving:
        found = file_of(adapter, loaded)
        if found is None:
            return Serving(adapter, None, _not_loaded(calls, adapter))
        deployment = _LlamaServerDeployment(
            calls.base_url, adapter.sha256, tuple((one.number, one.path) for one in loaded)
        )
        probe = self._probes.get(deployment)
        if probe is None or (probe.problem and probe.again_at <= self._clock()):
            try:
                probe = self._probes[deployment] = await self._probe(calls, adapter, loaded, found)
            except HttpError as error:
                return Serving(adapter, None, _server_problem(error, calls))
        return Serving(adapter, None if probe.problem else _model(adapter, loaded, found), probe.problem)

    async def _probe(
        self, calls: LlamaServerCalls, adapter: ServedAdapter, loaded: Loaded, found: LoadedAdapter
    ) -> EffectProbe:
        base, changed = plain_base(adapter.base), adapted(adapter.base, loaded, found)

        async def ask_base(prompt: str) -> ProbeAnswer:
            return await calls.probe.answer(base.upstream, prompt, base.body)

        async def ask_adapted(prompt: str) -> ProbeAnswer:
            return await calls.probe.answer(base.upstream, prompt, changed.body)

        if await has_effect(ask_base, ask_adapted, adapter.prompts):
            return EffectProbe(None)
        problem = (
            f"{found.path}, loaded by llama.cpp at {calls.address}, changes nothing: the answers to the prompts it was "
            "trained on are those of the base. Check that this is the trained file, or train it longer. Kairos retries."
        )
        return EffectProbe(problem, self._clock() + RETRY_S)

    def _report(self, calls: LlamaServerCalls, adapters: Sequence[ServedAdapter], loaded: Loaded) -> None:
        """Log, once, what the operator of the server has to do. The problems shown to a project name its own adapters
        only."""
        missing = [one for one in adapters if file_of(one, loaded) is None]
        applied = [one.path for one in loaded if one.scale and any(file_of(each, [one]) for each in adapters)]
        texts = []
        if missing:
            texts.append(f"restart it with these options after its present ones: {options(missing)}")
        if applied:
            texts.append(f"it applies {', '.join(applied)} to requests of other programs; start it with {NO_APPLY}")
        text = "; ".join(texts)
        if text and text != self._reported.get(calls.base_url):
            log.warning("llama.cpp at %s: %s", calls.address, text)
        self._reported[calls.base_url] = text


def _not_loaded(calls: LlamaServerCalls, adapter: ServedAdapter) -> str:
    where = (
        ""
        if adapter.base.adapters_path
        else " If the server sees that file below another folder, set `adapters_path` of the base in kairos.toml."
    )
    return (
        f"llama.cpp at {calls.address} has not loaded {server_file(adapter)}, and it loads adapters only at its start. "
        f"Restart llama-server with these options after its present ones: {options([adapter])}.{where}"
    )


def _server_problem(error: HttpError, calls: LlamaServerCalls) -> str:
    if isinstance(error, AWAY):
        return f"llama.cpp at {calls.address} is unavailable ({clause(error)}). Kairos retries."
    if isinstance(error, HttpStatus) and error.http_status == LOADING:
        return f"llama.cpp at {calls.address} is still loading its model. Kairos retries."
    if isinstance(error, HttpStatus) and error.http_status in NO_SUCH_ROUTE:
        return (
            f"the server at {calls.address} has no /lora-adapters ({error.http_status}): it is no llama.cpp server, or "
            "one in router mode. Set `adapters` of the base in kairos.toml to the kind of its server. Kairos retries."
        )
    return f"llama.cpp at {calls.address} does not answer as expected: {clause(error)}. Kairos retries."


def _name(adapter: ServedAdapter) -> str:
    return served_name(adapter.base.name, adapter.project_id, adapter.version)


def _model(adapter: ServedAdapter, loaded: Loaded, found: LoadedAdapter) -> Model:
    return replace(
        adapted(adapter.base, loaded, found),
        name=_name(adapter),
        project_id=adapter.project_id,
        base=adapter.base.name,
        weights=None,
        adapter_host=None,
        adapters_path=None,
        share=1.0,
    )
