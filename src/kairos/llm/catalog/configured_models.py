"""The configured models, and the embedded model if it is running."""

from __future__ import annotations

from collections.abc import Iterator

from kairos import environment
from kairos.config import InvalidConfig, ModelSettings, Settings
from kairos.embedded import Addresses
from kairos.llm.catalog.catalog import EMBEDDED_MODEL, FREE, AdapterHost, Model, ModelOrigin, Price
from kairos.model_keys import usable_key


def configured_models(settings: Settings, addresses: Addresses) -> Iterator[Model]:
    """Iterate over the models. Raises `InvalidConfig` if the environment variable of an API key is not set."""
    for entry in settings.models:
        yield _model(entry)
    if addresses.model_url:
        yield Model(
            name=EMBEDDED_MODEL,
            upstream=EMBEDDED_MODEL,
            base_url=addresses.model_url,
            api_key=addresses.model_api_key,
            local=True,
            price=FREE,
            context=2048,
            tier=0.3,
            capabilities=frozenset({"json_schema"}),
            weights=str(addresses.model_weights) if addresses.model_weights else None,
            adapter_host=AdapterHost.EMBEDDED,
            origin=ModelOrigin.EMBEDDED,
        )


def _model(entry: ModelSettings) -> Model:
    key = environment.value(entry.api_key_env) if entry.api_key_env else None
    if entry.api_key_env and key is None:
        raise InvalidConfig(
            source=f"models: {entry.name}",
            problem=f"the environment variable {entry.api_key_env}, named by `api_key_env`, is not set",
            remedy="Set it, or remove the model from kairos.toml",
        )
    return Model(
        name=entry.name,
        upstream=entry.upstream or entry.name,
        base_url=entry.base_url,
        api_key=usable_key(entry.api_key_env, key, entry.name, f"models: {entry.name}")
        if entry.api_key_env and key is not None
        else None,
        protocol=entry.protocol,
        local=entry.local,
        price=Price(entry.price.input, entry.price.output) if entry.price else None,
        context=entry.context,
        context_declared="context" in entry.model_fields_set,
        specialties=frozenset(entry.specialties),
        tier=entry.tier,
        capabilities=frozenset(entry.capabilities),
        runner=entry.runner,
        weights=str(entry.weights) if entry.weights else None,
        adapter_host=AdapterHost(entry.adapters) if entry.adapters else None,
        adapters_path=entry.adapters_path,
    )
