"""Every part of a daemon, built on its engines and handed to each other."""

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
from kairos.api.services import Part, Services
from kairos.background_tasks import in_own_thread
from kairos.config import InvalidConfig, Settings, config_path
from kairos.config_reference import value_of
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.repositories.replicas import Said
from kairos.db.repositories.statistics import Fading
from kairos.embedded import Addresses, EmbeddedEngines
from kairos.errors import EngineUnavailable
from kairos.fine_tuning.adapters.adapters import AdapterFiles
from kairos.fine_tuning.adapters.deployments import AdaptersInService
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
from kairos.llm.calls.served_context import ContextWatch
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
from kairos.plugins.task_context import Means
from kairos.proxies import DIRECT, Proxies
from kairos.pubsub import Signals
from kairos.redis_client import answers, check_writable, connect

log = logging.getLogger(__name__)

ENGINE_WAIT_S = 5
MIGRATION_LIMIT_S = 3600
"""It rewrites tables, which are as large as they are."""


class Role(StrEnum):
    """What a daemon does: everything, only the API, only the tasks, or only the trainings."""

    ALL = "all"
    API = "api"
    WORKER = "worker"
    TRAINER = "trainer"


LANES = {
    Role.ALL: tuple(Lane),
    Role.API: (),
    Role.WORKER: (Lane.INTERACTIVE, Lane.BATCH),
    Role.TRAINER: (Lane.TRAIN,),
}
"""What a daemon of each role takes from the queue."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a daemon runs."""

    settings: Settings
    services: Services
    worker: Worker
    sweeper: Sweeper
    background: tuple[Callable[[], Coroutine[Any, Any, None]], ...]
    """What else runs as long as the daemon does."""
    judge: Judge
    engines: EmbeddedEngines | None
    first_account: FirstAccount


@asynccontextmanager
async def assemble(
    settings: Settings,
    addresses: Addresses,
    engines: EmbeddedEngines | None = None,
    role: Role = Role.ALL,
    scan: Scan | None = None,
    proxies: Proxies = DIRECT,
) -> AsyncIterator[Parts]:
    """Build every part on the engines at these addresses, migrate the database first, and close all at the end.

    `scan` is that of the plugins, where it is under way already.
    """
    async with AsyncExitStack() as stack:
        at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
        before, after = await in_own_thread(partial(schema.migrate, at), MIGRATION_LIMIT_S)
        if before != after:
            log.info("the database was migrated from %s to %s", before or "nothing", after)
        database = Database(at, settings.database)
        stack.callback(confined.stop)
        stack.push_async_callback(database.close)
        await database.check_app_role()
        redis = connect(addresses.redis_url)
        stack.push_async_callback(redis.aclose)
        # Later it may go away for a while; at a start its absence is most likely a wrong address.
        await answers(redis, ENGINE_WAIT_S)
        http = await stack.enter_async_context(
            HttpClient(proxies=proxies, private_hosts=lambda: configuration.live.view.plugins.private_hosts)
        )
        signals = Signals(redis)
        catalog = Catalog(map(_with_runner, configured_models(settings, addresses)))
        configuration = Configuration(database, signals, settings, partial(_check_models, catalog))
        configuration.check(settings)
        await configuration.begin()
        settings = configuration.live.view
        health, providers = ModelHealth(), Providers(http)
        breakers, traits = SharedBreakers(redis, signals, health, catalog), SharedTraits(redis, providers.traits)
        router = await stack.enter_async_context(
            _router(settings, catalog, database, redis, providers, health, breakers)
        )
        statistics = SharedStatistics(database, signals, _fading(), settings.router, router.restore)
        router.share(statistics)
        watch = ContextWatch(http, router.contexts, lambda: (*catalog, *catalog.adapters))
        stack.push_async_callback(statistics.close)
        judge = await stack.enter_async_context(Judge(settings.judge, router, database))
        isolation = HostIsolation(_protected(settings), weakly=settings.guardian.allow_weak_isolation)
        guardian = GuardianAgent(settings.guardian, isolation)
        learning = _learning(settings, database, signals, router, providers, http, engines)
        agents = AgentRegistry()
        plugins = PluginLoader(settings.plugins, agents, Means(router, database, http))
        for agent in (ExecutionAgent(router), guardian, learning.agent(guardian, judge)):
            plugins.add_built_in(agent)
        stack.push_async_callback(plugins.close)
        queue = FairQueue(redis)
        leases = Leases(database, settings.queue.lease_s)
        notices, feed, streams = EventNotices(signals), EventFeed(database, signals), DraftStreams(signals)
        stack.push_async_callback(streams.aclose)
        coordinator = AgentCoordinator(
            database, agents, guardian, router, judge, leases, settings.queue, settings.guardian, notices, streams
        )
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        heartbeat = Heartbeat(database, name, partial(_said, role, settings, configuration))
        configuration.report = heartbeat.beat
        stack.push_async_callback(heartbeat.leave)
        erasure = Erasure(database, queue, signals, ProjectKeys(redis), router.cache, settings, learning.in_service)
        refusals = Refusals(database)
        keys = TokenKeys(database)
        first_account = FirstAccount(database)
        await first_account.create()
        pool = Passwords()
        stack.push_async_callback(pool.aclose)
        accounts = Accounts(database, keys, settings.auth, SignInLimits(redis), pool)
        submissions = Submissions(database, queue, signals, notices, settings.queue)
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
            in_service=learning.in_service,
            adapter_files=learning.files,
            isolation=isolation,
            probe=_probe(database, redis, router, engines),
            local_secret=secrets.token_urlsafe(32),
        )
        worker = Worker(name, database, queue, signals, coordinator, leases, settings, notices, LANES[role])
        sweeper = Sweeper(database, queue, notices, settings)
        _follow(configuration, router, worker, sweeper, plugins)
        await plugins.reload(scan)
        yield Parts(
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
                learning.in_service.run,
                learning.promotions.run,
                trainings.run,
            ),
            judge=judge,
            engines=engines,
            first_account=first_account,
        )


def _protected(settings: Settings) -> list[Path]:
    """What code that is tested must not reach, to try it: the daemon's files."""
    places = (settings.data_dir, settings.data_dir / "postgres", settings.fine_tuning.folder, config_path())
    return [place.resolve() for place in places if place and place.exists()]


def _with_runner(model: Model) -> Model:
    """A base whose adapters Ollama serves shares its one loaded copy with them, whatever the configuration says."""
    if model.adapter_host is not AdapterHost.OLLAMA or model.runner:
        return model
    return replace(model, runner=runner_of(model))


@dataclass(frozen=True, slots=True)
class _Learning:
    """What trains adapters, keeps them, and brings them into service."""

    database: Database
    router: LLMRouter
    trainer: Trainer
    gate: Gate
    files: AdapterFiles
    in_service: AdaptersInService
    promotions: Promotions

    def agent(self, guardian: GuardianAgent, judge: Judge) -> TrainingAgent:
        return TrainingAgent(
            self.database,
            self.router,
            self.trainer,
            self.gate,
            self.files,
            self.in_service,
            self.promotions,
            guardian,
            judge,
        )


def _learning(
    settings: Settings,
    database: Database,
    signals: Signals,
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
    in_service = AdaptersInService(
        database, signals, router, files, servers, settings.fine_tuning, OneOffModels(settings.data_dir)
    )
    promotions = Promotions(database, in_service, files, router.cache, settings.fine_tuning)
    trainer, gate = Trainer(settings.fine_tuning, folder), Gate(providers, settings.fine_tuning)
    return _Learning(database, router, trainer, gate, files, in_service, promotions)


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
    """Raises `InvalidConfig` where a value names a model that the catalogue does not have."""
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
    """Hand changed settings to what was made of them once; everything else reads them when it uses them."""

    def take(settings: Settings) -> None:
        logs.set_level(settings.log_level)
        router.reweigh(_weights(settings), settings.default_llm_model, settings.router.last_resort or None)
        router.cache.resize(_cache_settings(settings))
        worker.wake()
        sweeper.wake()

    async def scan(settings: Settings) -> None:
        del settings  # the loader reads them when it needs them
        await plugins.refresh()

    configuration.live.on_change(take)
    configuration.live.on_change(scan)


def _said(role: Role, settings: Settings, configuration: Configuration) -> Said:
    slots = settings.max_concurrent_tasks if Lane.BATCH in LANES[role] else len(LANES[role])
    standing = configuration.standing
    return Said(role, __version__, slots, standing.version, standing.error, standing.waiting)


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
    async def probe() -> dict[str, Part]:
        parts: dict[str, Part] = {
            "postgresql": await _state(database.ping),
            "redis": await _redis_state(redis),
            "models": router.readiness(),
        }
        for name, engine in (engines.states() if engines else {}).items():
            if engine.state != "running":
                cause = engine.missing_library or "the daemon's log has the cause"
                parts[f"embedded {name}"] = {"state": "degraded", "detail": f"{engine.state}: {cause}"}
        return parts

    return probe


async def _redis_state(redis: Any) -> Part:
    """A Redis that answers and takes no data is degraded: what is cached or counted there is not, and tasks wait."""
    part = await _state(redis.ping)
    if part["state"] != "ok":
        return part
    try:
        await check_writable(redis)
    except (EngineUnavailable, TimeoutError) as error:
        log.warning("Redis takes no data: %s", error)
        remedy = error.values["remedy"] if isinstance(error, EngineUnavailable) else "See `kairos doctor`."
        return {"state": "degraded", "detail": f"it answers and takes no data. {remedy}"}
    return part


async def _state(ping: Callable[[], Any]) -> Part:
    try:
        async with asyncio.timeout(3):
            await ping()
    except Exception as error:  # a client library's own errors as well: whatever they are, the part is away
        # Anybody may ask whether Kairos is ready: addresses and drivers' words go to the log alone.
        log.warning("a part is away: %s", str(error) or "no answer within 3 s")
        return {"state": "away", "detail": "it does not answer; the daemon's log has the cause"}
    return {"state": "ok"}
