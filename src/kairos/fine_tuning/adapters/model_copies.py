"""A model that several servers serve alike, so that more calls run at once."""

from __future__ import annotations

from dataclasses import dataclass

from kairos.llm.catalog.catalog import Model

CALLS_AT_ONCE = 2
"""To a server that has other callers too: more would keep them waiting."""


@dataclass(frozen=True, slots=True)
class ModelCopies:
    """The same weights and settings at one or several servers."""

    models: tuple[Model, ...]
    calls_each: int = CALLS_AT_ONCE
    """Most calls to each at once."""

    @classmethod
    def only(cls, model: Model) -> ModelCopies:
        """Return a model that one server serves, which has other callers too."""
        return cls((model,))

    @property
    def first(self) -> Model:
        return self.models[0]

    @property
    def at_once(self) -> int:
        """Most calls to all of them at once."""
        return len(self.models) * self.calls_each
