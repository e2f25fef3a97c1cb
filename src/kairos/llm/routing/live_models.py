"""Replaces the stored models and the adapters of the catalogue while requests are routed and models are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kairos.llm.calls.served_context import ModelContexts
from kairos.llm.catalog.catalog import Catalog, Model, ModelOrigin
from kairos.llm.health.health import ModelHealth
from kairos.llm.routing.routing_errors import ModelWithdrawn


class LiveModels:
    """Keeps health and contexts consistent with a catalogue that changes."""

    def __init__(
        self, catalog: Catalog, health: ModelHealth, contexts: ModelContexts, changed: Callable[[], None]
    ) -> None:
        """`changed` is called after each replacement."""
        self._catalog = catalog
        self._health = health
        self._contexts = contexts
        self._changed = changed

    def replace_adapters(self, models: Iterable[Model]) -> None:
        """Replace the adapters. The health of one that was added, removed or moved is reset: its server has changed."""
        before = _addresses(self._catalog.adapters)
        self._catalog.replace_adapters(models)
        self._discard_health(before ^ _addresses(self._catalog.adapters))
        self._changed()

    def replace_stored(self, models: Iterable[Model]) -> None:
        """Replace the stored models. The health of one that was added, removed, moved or got another key is reset."""
        before = _addresses(self._catalog.servers)
        self._catalog.replace_stored(models)
        self._discard_health(before ^ _addresses(self._catalog.servers))
        self._health.problems = {model.name: model.problem for model in self._catalog.servers if model.problem}
        self._contexts.keep(self._catalog.every)
        self._changed()

    def current(self, model: Model) -> Model:
        """Return the model as the catalogue has it now, for each request to its server: its key may have changed.

        Raises `ModelWithdrawn` for a stored model that was removed. Other models do not change while a call runs.
        """
        if model.origin is not ModelOrigin.STORED:
            return model
        now = self._catalog.get(model.name)
        if now is None or now.provider_id != model.provider_id or now.problem is not None:
            raise ModelWithdrawn(model=model.name)
        return now

    def was_changed(self, called: Model | None) -> bool:
        """Whether a model got another key or address after it was called, so that its failure says nothing."""
        now = self._catalog.get(called.name) if called else None
        return called is not None and now is not None and _address(called) != _address(now)

    def _discard_health(self, changed: Iterable[tuple[str, str, str, str | None]]) -> None:
        for name in {name for name, *_ in changed}:
            self._health.discard(name)


def _addresses(models: Iterable[Model]) -> set[tuple[str, str, str, str | None]]:
    return {_address(model) for model in models}


def _address(model: Model) -> tuple[str, str, str, str | None]:
    """The server and credential of a model, the same fields as a breaker's identity (`shared_breakers.identity`)."""
    return (model.name, model.base_url, model.upstream, model.api_key)
