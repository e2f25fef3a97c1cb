"""Build the built-in agents, the judge and the guardian, and the loader of plugins."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from kairos.agents.answer_grader import AnswerGrader
from kairos.agents.checks import confined
from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.execution import SYSTEM, ExecutionAgent
from kairos.agents.guardian import GuardianAgent
from kairos.agents.judge import Judge
from kairos.agents.registry import AgentRegistry
from kairos.agents.training import TrainingAgent
from kairos.agents.training_grades import SampleGrades
from kairos.agents.training_records import TrainingRecords
from kairos.assembly.learning import Learning
from kairos.assembly.llm import Llm
from kairos.assembly.storage import DataStores
from kairos.config import Settings, config_path
from kairos.fine_tuning.tries.tries import Tries
from kairos.plugins.plugin_loader import PluginLoader
from kairos.plugins.task_context import PluginServices


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of a daemon, and what reviews their answers."""

    registry: AgentRegistry
    plugins: PluginLoader
    guardian: GuardianAgent
    judge: Judge
    isolation: HostIsolation


async def build_agents(
    stack: AsyncExitStack, settings: Settings, storage: DataStores, llm: Llm, learning: Learning
) -> Agents:
    """Build the agents. Plugins are loaded later, by `PluginLoader.reload`."""
    database, router = storage.database, llm.router
    judge = await stack.enter_async_context(Judge(settings.judge, router, database))
    isolation = HostIsolation(_protected(settings), allow_weak=settings.guardian.allow_weak_isolation)
    guardian = GuardianAgent(settings.guardian, isolation)
    registry = AgentRegistry()
    services = PluginServices(router, database, llm.http)
    plugins = PluginLoader(settings.plugins, registry, services, llm.providers.replace_plugins)
    training = TrainingAgent(
        database,
        router,
        learning.trainer,
        Tries(learning.trainer, learning.one_off, learning.selection, learning.gate, settings.fine_tuning, SYSTEM),
        learning.gate,
        TrainingRecords(database, learning.files, learning.trainer),
        learning.deployments,
        learning.promotions,
        SampleGrades(database, AnswerGrader(guardian, judge)),
        settings.fine_tuning,
    )
    for agent in (ExecutionAgent(router), guardian, training):
        plugins.add_built_in(agent)
    stack.push_async_callback(plugins.close)
    return Agents(registry, plugins, guardian, judge, isolation)


def stop_checks_at_end(stack: AsyncExitStack) -> None:
    """Stop the processes of sandboxed checks when the stack closes."""
    stack.callback(confined.stop)


def _protected(settings: Settings) -> list[Path]:
    """The daemon's files, which tested code must not be able to read."""
    places = (settings.data_dir, settings.data_dir / "postgres", settings.fine_tuning.folder, config_path())
    return [place.resolve() for place in places if place and place.exists()]
