"""Build the queue, the worker, the sweeper, and the components that submit and follow tasks."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from kairos import __version__
from kairos.agents.answer_grader import AnswerGrader
from kairos.agents.base_check import BaseCheck
from kairos.assembly.agents import Agents
from kairos.assembly.lanes import LANES
from kairos.assembly.learning import Learning
from kairos.assembly.llm import Llm
from kairos.assembly.storage import DataStores
from kairos.background_tasks import BackgroundTask
from kairos.config import Settings
from kairos.db.models import DaemonRole
from kairos.db.repositories.queue.replicas import DaemonStatus
from kairos.fine_tuning.dataset.review import DatasetReviewer
from kairos.lanes import Lane
from kairos.orchestration.configuration.config_changes import ConfigChanges
from kairos.orchestration.configuration.configuration import Configuration
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.orchestration.projects.erasure import Erasure
from kairos.orchestration.projects.project_export import Exports
from kairos.orchestration.projects.project_keys import ProjectKeys
from kairos.orchestration.providers.local_servers import LocalServers
from kairos.orchestration.providers.master_key_rotation import MasterKeyRotation
from kairos.orchestration.providers.ollama.ollama_models import OllamaModels
from kairos.orchestration.providers.ollama.ollama_servers import OllamaServers
from kairos.orchestration.providers.ollama.pull_board import PullBoard
from kairos.orchestration.providers.ollama.pulls import OllamaPulls
from kairos.orchestration.providers.provider_store import ProviderStore
from kairos.orchestration.providers.provider_test import ProviderHttp, ProviderTest
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.orchestration.queue.heartbeat import Heartbeat
from kairos.orchestration.queue.lease import Leases
from kairos.orchestration.queue.queue import FairQueue
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator
from kairos.orchestration.tasks.draft_stream import DraftStreams
from kairos.orchestration.tasks.labels import Labels
from kairos.orchestration.tasks.submission import Submissions
from kairos.orchestration.tasks.training_advice import TrainingAdvice
from kairos.orchestration.tasks.trainings import Trainings
from kairos.orchestration.workers.sweeper import Sweeper
from kairos.orchestration.workers.worker import Worker


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The components that accept, queue and run tasks."""

    worker: Worker
    sweeper: Sweeper
    coordinator: AgentCoordinator
    submissions: Submissions
    labels: Labels
    trainings: Trainings
    training_advice: TrainingAdvice
    limits: ProjectLimits
    config_changes: ConfigChanges
    exports: Exports
    providers: ProviderStore
    provider_test: ProviderTest
    local_servers: LocalServers
    ollama_models: OllamaModels
    ollama_pulls: OllamaPulls
    master_keys: MasterKeyRotation
    background: tuple[BackgroundTask, ...]


async def build_orchestration(
    stack: AsyncExitStack,
    role: DaemonRole,
    configuration: Configuration,
    storage: DataStores,
    llm: Llm,
    agents: Agents,
    learning: Learning,
) -> Orchestration:
    settings, database, pubsub = configuration.live.view, storage.database, storage.pubsub
    queue, leases, notices = FairQueue(storage.redis), Leases(database, settings.queue.lease_s), EventNotices(pubsub)
    coordinator = _coordinator(stack, settings, storage, llm, agents, leases, notices)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    heartbeat = _heartbeat(stack, name, role, configuration, storage)
    limits = ProjectLimits(database, queue, settings.queue)
    submissions = Submissions(database, queue, pubsub, notices, settings.queue)
    trainings = Trainings(database, llm.router, learning.trainer, submissions, settings)
    training_advice = _training_advice(settings, storage, llm, agents, learning, trainings)
    project_keys = ProjectKeys(storage.redis)
    erasure = Erasure(database, queue, pubsub, project_keys, llm.router.cache, settings, learning.deployments)
    providers = ProviderStore(database, llm.stored, llm.router.catalog, configuration)
    provider_http = ProviderHttp(llm.http, llm.projects_http)
    ollama = OllamaServers(providers, provider_http)
    pulls = OllamaPulls(database, ollama, PullBoard(storage.redis))
    stack.push_async_callback(pulls.aclose)
    return Orchestration(
        worker=Worker(name, database, queue, pubsub, coordinator, leases, settings, notices, LANES[role]),
        sweeper=Sweeper(database, queue, notices, settings),
        coordinator=coordinator,
        submissions=submissions,
        labels=Labels(database, llm.router, notices),
        trainings=trainings,
        training_advice=training_advice,
        limits=limits,
        config_changes=ConfigChanges(database, configuration, limits, agents.plugins),
        exports=Exports(database),
        providers=providers,
        provider_test=ProviderTest(providers, provider_http),
        local_servers=LocalServers(llm.providers, llm.http, providers, llm.router.catalog),
        ollama_models=OllamaModels(database, ollama, llm.router.catalog),
        ollama_pulls=pulls,
        master_keys=MasterKeyRotation(database, llm.stored),
        background=(
            notices.run,
            heartbeat.run,
            configuration.run,
            erasure.run,
            learning.deployments.run,
            learning.promotions.run,
            trainings.run,
        ),
    )


def _training_advice(
    settings: Settings, storage: DataStores, llm: Llm, agents: Agents, learning: Learning, trainings: Trainings
) -> TrainingAdvice:
    base_check = BaseCheck(storage.database, llm.providers, AnswerGrader(agents.guardian, agents.judge))
    reviewer = DatasetReviewer(llm.embedder)
    return TrainingAdvice(storage.database, trainings, learning.trainer, reviewer, base_check, settings)


def _coordinator(
    stack: AsyncExitStack,
    settings: Settings,
    storage: DataStores,
    llm: Llm,
    agents: Agents,
    leases: Leases,
    notices: EventNotices,
) -> AgentCoordinator:
    streams = DraftStreams(storage.pubsub)
    stack.push_async_callback(streams.aclose)
    return AgentCoordinator(
        storage.database,
        agents.registry,
        agents.guardian,
        llm.router,
        agents.judge,
        leases,
        settings.queue,
        settings.guardian,
        notices,
        streams,
    )


def _heartbeat(
    stack: AsyncExitStack, name: str, role: DaemonRole, configuration: Configuration, storage: DataStores
) -> Heartbeat:
    """The heartbeat of this daemon, which also reports each change of its configuration."""
    status = partial(_daemon_status, role, configuration.live.view, configuration)
    heartbeat = Heartbeat(storage.database, name, status)
    configuration.report = heartbeat.beat
    stack.push_async_callback(heartbeat.leave)
    return heartbeat


def _daemon_status(role: DaemonRole, settings: Settings, configuration: Configuration) -> DaemonStatus:
    slots = settings.max_concurrent_tasks if Lane.BATCH in LANES[role] else len(LANES[role])
    status = configuration.status
    return DaemonStatus(role, __version__, slots, status.version, status.error, status.waiting)
