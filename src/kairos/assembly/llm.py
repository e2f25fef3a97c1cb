"""Build the model catalogue, the HTTP client, the router, and the tasks that keep what they know up to date."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from kairos.assembly.storage import DataStores
from kairos.background_tasks import BackgroundTask
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.repositories.routing.statistics import Fading
from kairos.embedded import Addresses
from kairos.encryption.master_keys import MasterKeys
from kairos.fine_tuning.adapters.llama_server_calls import plain_base
from kairos.fine_tuning.adapters.ollama_names import runner_of
from kairos.http import HttpClient
from kairos.llm.cache.response_cache import ResponseCache
from kairos.llm.cache.response_store import CacheSettings
from kairos.llm.calls.providers import Providers
from kairos.llm.calls.served_context import ContextPoller
from kairos.llm.calls.shared_traits import SharedTraits
from kairos.llm.catalog.catalog import AdapterHost, Catalog, Model
from kairos.llm.catalog.configured_models import configured_models
from kairos.llm.catalog.stored_models import StoredModels
from kairos.llm.health.health import ModelHealth
from kairos.llm.health.probes import Probes
from kairos.llm.health.shared_breakers import SharedBreakers
from kairos.llm.routing.embedder import Embedder
from kairos.llm.routing.llm_router import LLMRouter
from kairos.llm.routing.routing_preview import RoutingPreview
from kairos.llm.routing.scoring import RouterWeights
from kairos.llm.routing.selection import ModelSelector
from kairos.llm.routing.task_types import TaskTypes
from kairos.monitoring.shared_statistics import SharedStatistics
from kairos.proxies import Proxies


@dataclass(frozen=True, slots=True)
class HttpClients:
    """The HTTP clients of a daemon."""

    shared: HttpClient
    projects: HttpClient
    """Calls addresses that projects chose."""


@dataclass(frozen=True, slots=True)
class Llm:
    """The components that choose and call models."""

    http: HttpClient
    projects_http: HttpClient
    """Calls addresses that projects chose."""
    providers: Providers
    router: LLMRouter
    preview: RoutingPreview
    embedder: Embedder
    stored: StoredModels
    background: tuple[BackgroundTask, ...]


def build_catalog(settings: Settings, addresses: Addresses) -> Catalog:
    """The models of the configuration and of the embedded engine."""
    return Catalog(map(_as_called, configured_models(settings, addresses)))


async def load_stored_models(settings: Settings, storage: DataStores, catalog: Catalog) -> StoredModels:
    """Read the master keys and the stored models, before the configuration is checked: it may name one of them."""
    stored = StoredModels(storage.database, storage.pubsub, MasterKeys(settings))
    await stored.refresh()
    catalog.replace_stored(stored.models)
    return stored


async def open_http(stack: AsyncExitStack, proxies: Proxies, settings: Settings) -> HttpClients:
    """Open the HTTP clients. `settings` are the live ones."""
    shared = HttpClient(proxies=proxies, private_hosts=lambda: settings.plugins.private_hosts)
    projects = HttpClient(
        proxies=proxies,
        private_hosts=lambda: settings.providers.private_hosts,
        private_hosts_key="providers.private_hosts",
    )
    return HttpClients(await stack.enter_async_context(shared), await stack.enter_async_context(projects))


async def build_llm(
    stack: AsyncExitStack,
    settings: Settings,
    storage: DataStores,
    catalog: Catalog,
    stored: StoredModels,
    clients: HttpClients,
) -> Llm:
    """Build the router and its background tasks. `settings` are the live ones."""
    database, redis = storage.database, storage.redis
    http = clients.shared
    health, providers = ModelHealth(), Providers(http, projects_http=clients.projects)
    breakers = SharedBreakers(redis, storage.pubsub, health, catalog.servers)
    traits = SharedTraits(redis, providers.traits)
    cache = ResponseCache(redis, cache_settings(settings))
    stack.push_async_callback(cache.aclose)
    embedder = Embedder()
    stack.push_async_callback(embedder.close)
    selector = ModelSelector(catalog, router_weights(settings), health, settings.router.last_resort or None)
    router = LLMRouter(
        catalog=catalog,
        selector=selector,
        health=health,
        providers=providers,
        task_types=_start_task_types(stack, embedder, database),
        cache=cache,
        database=database,
        may_probe=breakers.may_probe,
        default_model=settings.default_llm_model,
    )
    statistics = SharedStatistics(database, storage.pubsub, _fading(), settings.router, router.restore)
    router.use_statistics(statistics)
    stack.push_async_callback(statistics.close)
    preview = RoutingPreview(selector, statistics.load, lambda: router.default_model)
    contexts = ContextPoller(providers, http, router.contexts, lambda: catalog.every)
    probes = Probes(catalog.servers, health, providers, redis)

    def apply(models: Sequence[Model]) -> None:
        router.live.replace_stored(models)
        breakers.replace_models(catalog.servers)
        probes.replace_models(catalog.servers)

    apply(stored.models)
    stored.on_change = apply
    background = (stored.run, statistics.run, breakers.run, traits.run, contexts.run, probes.run)
    return Llm(http, clients.projects, providers, router, preview, embedder, stored, background)


def router_weights(settings: Settings) -> RouterWeights:
    return RouterWeights(
        lambda_cost=settings.router.lambda_cost,
        lambda_latency=settings.router.lambda_latency,
        latency_target_s=settings.router.latency_target_s,
    )


def cache_settings(settings: Settings) -> CacheSettings:
    return CacheSettings(
        ttl_s=settings.cache.ttl_s,
        project_bytes=settings.cache.project_bytes,
        total_bytes=settings.cache.total_bytes,
    )


def _start_task_types(stack: AsyncExitStack, embedder: Embedder, database: Database) -> TaskTypes:
    task_types = TaskTypes(embedder, database)
    stack.push_async_callback(task_types.close)
    task_types.start()
    return task_types


def _as_called(model: Model) -> Model:
    """The model as the server of its adapters requires it.

    On Ollama base and adapters share one loaded copy, a runner. On llama.cpp a request must exclude the adapters.
    """
    if model.adapter_host is AdapterHost.LLAMACPP:
        return plain_base(model)
    if model.adapter_host is not AdapterHost.OLLAMA or model.runner:
        return model
    return replace(model, runner=runner_of(model))


def _fading() -> Fading:
    weights = RouterWeights()
    return Fading(weights.gamma, weights.short_gamma, weights.half_life_s)
