"""The components that endpoints use, built by `assembly.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.judge import Judge
from kairos.agents.registry import AgentRegistry
from kairos.api.access.accounts import Accounts
from kairos.api.access.tokens import TokenKeys
from kairos.api.live.event_feed import EventFeed
from kairos.api.refusals import Refusals
from kairos.components import ComponentStatus
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.fine_tuning.adapters.adapters import AdapterFiles
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.gate.promotion import Promotions
from kairos.llm.routing.llm_router import LLMRouter
from kairos.orchestration.configuration.config_changes import ConfigChanges
from kairos.orchestration.configuration.configuration import Configuration
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.orchestration.projects.project_export import Exports
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator
from kairos.orchestration.tasks.labels import Labels
from kairos.orchestration.tasks.submission import Submissions
from kairos.orchestration.tasks.trainings import Trainings
from kairos.plugins.plugin_loader import PluginLoader

"""The state of a component in the readiness response: `state`, and optionally `detail`."""


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    database: Database
    keys: TokenKeys
    accounts: Accounts
    submissions: Submissions
    labels: Labels
    events: EventFeed
    limits: ProjectLimits
    configuration: Configuration
    config_changes: ConfigChanges
    exports: Exports
    refusals: Refusals
    agents: AgentRegistry
    coordinator: AgentCoordinator
    plugins: PluginLoader
    router: LLMRouter
    judge: Judge
    trainings: Trainings
    promotions: Promotions
    deployments: AdapterDeployments
    adapter_files: AdapterFiles
    isolation: HostIsolation
    probe: Callable[[], Awaitable[Mapping[str, ComponentStatus]]]
    """Returns the status of each component by name."""
    local_secret: str
    """Also in a 0600 file of the data folder: only the user who runs this daemon can read it."""


def services_of(request: Request) -> Services:
    return request.app.state.services


ServicesDep = Annotated[Services, Depends(services_of)]
