"""Build every component of a daemon and connect them."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from kairos import __version__, logs
from kairos.agents.checks import confined
from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.execution import ExecutionAgent
from kairos.agents.guardian import GuardianAgent
from kairos.agents.judge import Judge
from kairos.agents.registry import AgentRegistry
from kairos.agents.training import TrainingAgent
from kairos.api.access.accounts import Accounts
from kairos.api.access.first_account import FirstAccount
from kairos.api.access.passwords import Passwords
from kairos.api.access.sign_in_limits import SignInLimits
from kairos.api.access.tokens import TokenKeys
from kairos.api.live.event_feed import EventFeed
from kairos.api.refusals import Refusals
from kairos.api.services import ComponentState, Services
from kairos.background_tasks import run_in_thread
from kairos.config import InvalidConfig, Settings, config_path
from kairos.config_reference import value_of
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.repositories.replicas import DaemonStatus
from kairos.db.repositories.statistics import Fading
from kairos.embedded import Addresses, EmbeddedEngines
from kairos.errors import EngineUnavailable
from kairos.fine_tuning.adapters.adapters import AdapterFiles
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.adapters.llama_cpp import EmbeddedAdapters, OneOffModels
from kairos.fine_tuning.adapters.ollama import OllamaAdapters, runner_of
from kairos.fine_tuning.adapters.serving import AdapterServer
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.gate.promotion import Promotions
from kairos.fine_tuning.training.trainer import Trainer
from kairos.http import HttpClient
from kairos.lanes import Lane
from kairos.llm.cache.response_cache import ResponseCache
from kairos.llm.cache.response_store import CacheSettings
from kairos.llm.calls.providers import Providers
from kairos.llm.calls.served_context import ContextPoller
from kairos.llm.calls.shared_traits import SharedTraits
from kairos.llm.catalog.catalog import AdapterHost, Catalog, Model
from kairos.llm.catalog.configured_models import configured_models
from kairos.llm.health.health import ModelHealth
from kairos.llm.health.probes import Probes
from kairos.llm.health.shared_breakers import SharedBreakers
from kairos.llm.routing.embedder import Embedder
from kairos.llm.routing.llm_router import LLMRouter
from kairos.llm.routing.scoring import RouterWeights
from kairos.llm.routing.selection import ModelSelector
from kairos.llm.routing.task_types import TaskTypes
from kairos.monitoring.performance_tracker import PerformanceTracker
from kairos.monitoring.shared_statistics import SharedStatistics
from kairos.orchestration.configuration.config_changes import ConfigChanges
from kairos.orchestration.configuration.configuration import Configuration
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.orchestration.projects.erasure import Erasure
from kairos.orchestration.projects.project_export import Exports
from kairos.orchestration.projects.project_keys import ProjectKeys
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.orchestration.queue.heartbeat import Heartbeat
from kairos.orchestration.queue.lease import Leases
from kairos.orchestration.queue.queue import FairQueue
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator
from kairos.orchestration.tasks.draft_stream import DraftStreams
from kairos.orchestration.tasks.labels import Labels
from kairos.orchestration.tasks.submission import Submissions
from kairos.orchestration.tasks.trainings import Trainings
from kairos.orchestration.workers.sweeper import Sweeper
from kairos.orchestration.workers.worker import Worker
from kairos.plugins.plugin_loader import PluginLoader, Scan
from kairos.plugins.task_context import PluginServices
from kairos.proxies import DIRECT, Proxies
from kairos.pubsub import PubSub
from kairos.redis_client import check_writable, connect, wait_until_reachable

log = logging.getLogger(__name__)

ENGINE_WAIT_S = 5
MIGRATION_LIMIT_S = 3600
"""Long, because a migration may rewrite large tables."""


class DaemonRole(StrEnum):
    """The work of a daemon: everything, only the API, only tasks, or only trainings."""

    ALL = "all"
    API = "api"
    WORKER = "worker"
    TRAINER = "trainer"


LANES = {
    DaemonRole.ALL: tuple(Lane),
    DaemonRole.API: (),
    DaemonRole.WORKER: (Lane.INTERACTIVE, Lane.BATCH),
    DaemonRole.TRAINER: (Lane.TRAIN,),
}
"""The lanes from which a daemon of each role claims tasks."""


@dataclass(frozen=True, slots=True)
class Components:
    """Everything a daemon runs."""

    settings: Settings
    services: Services
    worker: Worker
    sweeper: Sweeper
    background: tuple[Callable[[], Coroutine[Any, Any, None]], ...]
    """Loops that run until the daemon stops."""
    judge: Judge
    engines: EmbeddedEngines | None
    first_account: FirstAccount


@asynccontextmanager
async def assemble(
    settings: Settings,
    addresses: Addresses,
    engines: EmbeddedEngines | None = None,
    role: DaemonRole = DaemonRole.ALL,
    scan: Scan | None = None,
    proxies: Proxies = DIRECT,
) -> AsyncIterator[Components]:
    """Migrate the database, build every component on the engines at these addresses, and close all of them at the end.

    `scan` is the plugin scan, if it has been started already.
    """
    async with AsyncExitStack() as stack:
        at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
        before, after = await run_in_thread(partial(schema.migrate, at), MIGRATION_LIMIT_S)
        if before != after:
            log.info("the database was migrated from %s to %s", before or "nothing", after)
        database = Database(at, settings.database)
        stack.callback(confined.stop)
        stack.push_async_callback(database.close)
        await database.check_app_role()
        redis = connect(addresses.redis_url)
        stack.push_async_callback(redis.aclose)
        # A later outage is tolerated; at the start, an unreachable Redis is most likely a wrong address.
        await wait_until_reachable(redis, ENGINE_WAIT_S)
        http = await stack.enter_async_context(
            HttpClient(proxies=proxies, private_hosts=lambda: configuration.live.view.plugins.private_hosts)
        )
        pubsub = PubSub(redis)
        catalog = Catalog(map(_with_runner, configured_models(settings, addresses)))
        configuration = Configuration(database, pubsub, settings, partial(_check_models, catalog))
        configuration.check(settings)
        await configuration.begin()
        settings = configuration.live.view
        health, providers = ModelHealth(), Providers(http)
        breakers, traits = SharedBreakers(redis, pubsub, health, catalog), SharedTraits(redis, providers.traits)
        router = await stack.enter_async_context(
            _router(settings, catalog, database, redis, providers, health, breakers)
        )
        statistics = SharedStatistics(database, pubsub, _fading(), settings.router, router.restore)
        router.use_statistics(statistics)
        watch = ContextPoller(http, router.contexts, lambda: (*catalog, *catalog.adapters))
        stack.push_async_callback(statistics.close)
        judge = await stack.enter_async_context(Judge(settings.judge, router, database))
        isolation = HostIsolation(_protected(settings), allow_weak=settings.guardian.allow_weak_isolation)
        guardian = GuardianAgent(settings.guardian, isolation)
        learning = _learning(settings, database, pubsub, router, providers, http, engines)
        agents = AgentRegistry()
        plugins = PluginLoader(settings.plugins, agents, PluginServices(router, database, http))
        for agent in (ExecutionAgent(router), guardian, learning.agent(guardian, judge)):
            plugins.add_built_in(agent)
        stack.push_async_callback(plugins.close)
        queue = FairQueue(redis)
        leases = Leases(database, settings.queue.lease_s)
        notices, feed, streams = EventNotices(pubsub), EventFeed(database, pubsub), DraftStreams(pubsub)
        stack.push_async_callback(streams.aclose)
        coordinator = AgentCoordinator(
            database, agents, guardian, router, judge, leases, settings.queue, settings.guardian, notices, streams
        )
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        heartbeat = Heartbeat(database, name, partial(_daemon_status, role, settings, configuration))
        configuration.report = heartbeat.beat
        stack.push_async_callback(heartbeat.leave)
        erasure = Erasure(database, queue, pubsub, ProjectKeys(redis), router.cache, settings, learning.deployments)
        refusals = Refusals(database)
        keys = TokenKeys(database)
        first_account = FirstAccount(database)
        await first_account.create()
        pool = Passwords()
        stack.push_async_callback(pool.aclose)
        accounts = Accounts(database, keys, settings.auth, SignInLimits(redis), pool)
        submissions = Submissions(database, queue, pubsub, notices, settings.queue)
        trainings = Trainings(database, router, learning.trainer, submissions, settings)
        limits = ProjectLimits(database, queue, settings.queue)
        services = Services(
            settings=settings,
            database=database,
            keys=keys,
            accounts=accounts,
            submissions=submissions,
            labels=Labels(database, router, notices),
            events=feed,
            limits=limits,
            configuration=configuration,
            config_changes=ConfigChanges(database, configuration, limits, plugins),
            exports=Exports(database),
            refusals=refusals,
            agents=agents,
            plugins=plugins,
            coordinator=coordinator,
            router=router,
            judge=judge,
            trainings=trainings,
            promotions=learning.promotions,
            deployments=learning.deployments,
            adapter_files=learning.files,
            isolation=isolation,
            probe=_probe(database, redis, router, engines),
            local_secret=secrets.token_urlsafe(32),
        )
        worker = Worker(name, database, queue, pubsub, coordinator, leases, settings, notices, LANES[role])
        sweeper = Sweeper(database, queue, notices, settings)
        _follow(configuration, router, worker, sweeper, plugins)
        await plugins.reload(scan)
        yield Components(
            settings=settings,
            services=services,
            worker=worker,
            sweeper=sweeper,
            background=(
                statistics.run,
                breakers.run,
                traits.run,
                watch.run,
                Probes(catalog, health, providers, redis).run,
                notices.run,
                feed.run,
                heartbeat.run,
                configuration.run,
                erasure.run,
                refusals.run,
                learning.deployments.run,
                learning.promotions.run,
                trainings.run,
            ),
            judge=judge,
            engines=engines,
            first_account=first_account,
        )


def _protected(settings: Settings) -> list[Path]:
    """The daemon's files, which tested code must not be able to read."""
    places = (settings.data_dir, settings.data_dir / "postgres", settings.fine_tuning.folder, config_path())
    return [place.resolve() for place in places if place and place.exists()]


def _with_runner(model: Model) -> Model:
    """The model, with a runner if Ollama serves its adapters: base and adapters then share one loaded copy."""
    if model.adapter_host is not AdapterHost.OLLAMA or model.runner:
        return model
    return replace(model, runner=runner_of(model))


@dataclass(frozen=True, slots=True)
class _Learning:
    """The components that train, store and deploy adapters."""

    database: Database
    router: LLMRouter
    trainer: Trainer
    gate: Gate
    files: AdapterFiles
    deployments: AdapterDeployments
    promotions: Promotions

    def agent(self, guardian: GuardianAgent, judge: Judge) -> TrainingAgent:
        return TrainingAgent(
            self.database,
            self.router,
            self.trainer,
            self.gate,
            self.files,
            self.deployments,
            self.promotions,
            guardian,
            judge,
        )


def _learning(
    settings: Settings,
    database: Database,
    pubsub: PubSub,
    router: LLMRouter,
    providers: Providers,
    http: HttpClient,
    engines: EmbeddedEngines | None,
) -> _Learning:
    folder = settings.fine_tuning.folder or settings.data_dir / "models"
    files = AdapterFiles(folder, settings.fine_tuning.quota_mb * 2**20)
    servers: dict[AdapterHost | None, AdapterServer] = {AdapterHost.OLLAMA: OllamaAdapters(http)}
    if engines:
        servers[AdapterHost.EMBEDDED] = EmbeddedAdapters(engines)
    deployments = AdapterDeployments(
        database, pubsub, router, files, servers, settings.fine_tuning, OneOffModels(settings.data_dir)
    )
    promotions = Promotions(database, deployments, files, router.cache, settings.fine_tuning)
    trainer, gate = Trainer(settings.fine_tuning, folder), Gate(providers, settings.fine_tuning)
    return _Learning(database, router, trainer, gate, files, deployments, promotions)


@asynccontextmanager
async def _router(
    settings: Settings,
    catalog: Catalog,
    database: Database,
    redis: Redis,
    providers: Providers,
    health: ModelHealth,
    breakers: SharedBreakers,
) -> AsyncIterator[LLMRouter]:
    embedder = Embedder()
    task_types = TaskTypes(embedder, database)
    cache = ResponseCache(redis, _cache_settings(settings))
    task_types.start()
    try:
        yield LLMRouter(
            catalog=catalog,
            selector=ModelSelector(catalog, _weights(settings), health, settings.router.last_resort or None),
            health=health,
            providers=providers,
            tracker=PerformanceTracker(database),
            task_types=task_types,
            cache=cache,
            database=database,
            may_probe=breakers.may_probe,
            default_model=settings.default_llm_model,
        )
    finally:
        await task_types.close()
        await embedder.close()
        await cache.aclose()


def _check_models(catalog: Catalog, settings: Settings) -> None:
    """Raise `InvalidConfig` if a setting names a model that is not in the catalogue."""
    for key, none in (("default_llm_model", "auto"), ("router.last_resort", ""), ("judge.model", "")):
        name = value_of(settings, key)
        if name != none and name not in catalog:
            raise InvalidConfig(
                source=key,
                problem=f"no model is named {name!r}",
                remedy=f"Use one of: {', '.join(model.name for model in catalog) or 'none is configured'}",
            )


def _follow(
    configuration: Configuration, router: LLMRouter, worker: Worker, sweeper: Sweeper, plugins: PluginLoader
) -> None:
    """Apply changed settings to components that copied them; all others read them on each use."""

    def apply(settings: Settings) -> None:
        logs.set_level(settings.log_level)
        router.reweigh(_weights(settings), settings.default_llm_model, settings.router.last_resort or None)
        router.cache.resize(_cache_settings(settings))
        worker.wake()
        sweeper.wake()

    async def scan(settings: Settings) -> None:
        del settings  # the loader reads the live settings
        await plugins.refresh()

    configuration.live.on_change(apply)
    configuration.live.on_change(scan)


def _daemon_status(role: DaemonRole, settings: Settings, configuration: Configuration) -> DaemonStatus:
    slots = settings.max_concurrent_tasks if Lane.BATCH in LANES[role] else len(LANES[role])
    status = configuration.status
    return DaemonStatus(role, __version__, slots, status.version, status.error, status.waiting)


def _weights(settings: Settings) -> RouterWeights:
    return RouterWeights(
        lambda_cost=settings.router.lambda_cost,
        lambda_latency=settings.router.lambda_latency,
        latency_target_s=settings.router.latency_target_s,
    )


def _cache_settings(settings: Settings) -> CacheSettings:
    return CacheSettings(
        ttl_s=settings.cache.ttl_s,
        project_bytes=settings.cache.project_bytes,
        total_bytes=settings.cache.total_bytes,
    )


def _fading() -> Fading:
    weights = RouterWeights()
    return Fading(weights.gamma, weights.short_gamma, weights.half_life_s)


def _probe(database: Database, redis: Any, router: LLMRouter, engines: EmbeddedEngines | None):
    async def probe() -> dict[str, ComponentState]:
        parts: dict[str, ComponentState] = {
            "postgresql": await _state(database.ping),
            "redis": await _redis_state(redis),
            "models": router.readiness(),
        }
        for name, engine in (engines.states() if engines else {}).items():
            if engine.state != "running":
                cause = engine.missing_library or engine.not_installed or "the daemon's log has the cause"
                parts[f"embedded {name}"] = {"state": "degraded", "detail": f"{engine.state}: {cause}"}
        return parts

    return probe


async def _redis_state(redis: Any) -> ComponentState:
    """The state of Redis: degraded if it refuses writes, because caching, limits and the queue then stop."""
    part = await _state(redis.ping)
    if part["state"] != "ok":
        return part
    try:
        await check_writable(redis)
    except (EngineUnavailable, TimeoutError) as error:
        log.warning("Redis refuses writes: %s", error)
        remedy = error.values["remedy"] if isinstance(error, EngineUnavailable) else "See `kairos doctor`."
        return {"state": "degraded", "detail": f"it answers but refuses writes. {remedy}"}
    return part


async def _state(ping: Callable[[], Any]) -> ComponentState:
    try:
        async with asyncio.timeout(3):
            await ping()
    except Exception as error:  # includes errors of client libraries: in every case the component is unavailable
        # The readiness endpoint is public, so addresses and driver messages go to the log only.
        log.warning("a component is unavailable: %s", str(error) or "no answer within 3 s")
        return {"state": "away", "detail": "it does not answer; the daemon's log has the cause"}
    return {"state": "ok"}
