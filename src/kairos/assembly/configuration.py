"""Read the configuration in force, and apply its changes to the components that copied settings."""

from __future__ import annotations

from functools import partial

from kairos import logs
from kairos.assembly.agents import Agents
from kairos.assembly.llm import Llm, cache_settings, router_weights
from kairos.assembly.orchestration import Orchestration
from kairos.assembly.storage import DataStores
from kairos.config import InvalidConfig, Settings
from kairos.config_reference import value_of
from kairos.llm.catalog.catalog import Catalog
from kairos.llm.catalog.stored_models import StoredModels
from kairos.orchestration.configuration.configuration import Configuration


async def begin_configuration(
    storage: DataStores, settings: Settings, catalog: Catalog, stored: StoredModels
) -> Configuration:
    """Read the stored configuration. Raises `InvalidConfig` if a setting names an unknown model."""
    configuration = Configuration(storage.database, storage.pubsub, settings, partial(_check_models, catalog, stored))
    configuration.check(settings)
    await configuration.begin()
    return configuration


def apply_changes(configuration: Configuration, llm: Llm, agents: Agents, orchestration: Orchestration) -> None:
    """Apply changed settings to components that copied them; all others read them on each use."""

    def apply(settings: Settings) -> None:
        logs.set_level(settings.log_level)
        llm.router.reweigh(router_weights(settings), settings.default_llm_model, settings.router.last_resort or None)
        llm.router.cache.resize(cache_settings(settings))
        orchestration.worker.wake()
        orchestration.sweeper.wake()

    async def scan(settings: Settings) -> None:
        del settings  # the loader reads the live settings
        await agents.plugins.refresh()

    configuration.live.on_change(apply)
    configuration.live.on_change(scan)


def _check_models(catalog: Catalog, stored: StoredModels, settings: Settings) -> None:
    """Raise `InvalidConfig` if a setting names a model that is neither in the catalogue nor stored."""
    for key, none in (("default_llm_model", "auto"), ("router.last_resort", ""), ("judge.model", "")):
        name = value_of(settings, key)
        if name != none and name not in catalog and name not in stored.shared_names:
            raise InvalidConfig(
                source=key,
                problem=f"no model is named {name!r}",
                remedy=f"Use one of: {', '.join(model.name for model in catalog) or 'none is configured'}",
            )
