"""What was found out about each model by calling it: what its requests must leave out, and the context that it has."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from kairos.llm.calls.adjustments import UNADJUSTED, Adjustments, SchemaForm
from kairos.llm.catalog.catalog import Model

NO_SCHEMA = "no_json_schema"
"""Declared as a capability, it keeps JSON schemas from being sent to a model."""
KEPT_S = 7 * 24 * 3600.0
"""Servers are updated: after this long a model is asked for everything again."""
MIN_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class Traits:
    """What one model's server was found to take."""

    adjustments: Adjustments = UNADJUSTED
    context: int | None = None
    """Tokens of prompt and answer together, where calls showed that they are fewer than declared."""
    at: float = field(default=0.0, compare=False)
    """When it was found out last."""

    def merged(self, other: Traits) -> Traits:
        """Both together; of two contexts the smaller one."""
        contexts = [context for context in (self.context, other.context) if context is not None]
        return Traits(self.adjustments.merged(other.adjustments), min(contexts, default=None), max(self.at, other.at))

    def to_json(self) -> bytes:
        value = {"adjustments": self.adjustments.to_dict(), "context": self.context, "at": self.at}
        return orjson.dumps(value)

    @classmethod
    def from_json(cls, raw: bytes) -> Traits | None:
        """None for what another version of Kairos wrote."""
        try:
            value: dict[str, Any] = orjson.loads(raw)
            context = value["context"]
            found = Adjustments.from_dict(value["adjustments"])
            return cls(found, None if context is None else max(MIN_CONTEXT, int(context)), float(value["at"]))
        except (ValueError, TypeError, KeyError):
            return None


NO_TRAITS = Traits()


class ModelTraits:
    """The traits of each model, in memory; `shared_traits.py` shares them. Every method returns at once."""

    def __init__(self) -> None:
        self._found: dict[str, Traits] = {}
        self.learned: Callable[[str, Traits | None], None] = lambda digest, traits: None
        """Called with what was found out here, None where it was forgotten."""
        self.context_forgotten: Callable[[str, Traits], None] = lambda digest, rest: None
        """Called with what is left after a context was forgotten."""
        self.changed: Callable[[], None] = lambda: None
        """Called after every change of a context."""

    def of(self, model: Model) -> Traits:
        """What was found out about a model, with what its entry declares over it."""
        found = self._found.get(identity(model), NO_TRAITS)
        if NO_SCHEMA in model.capabilities:
            return replace(found, adjustments=found.adjustments.merged(Adjustments(schema_form=SchemaForm.NONE)))
        return found

    def learn(self, model: Model, found: Traits) -> None:
        """Remember this with what is known already. A declared `json_schema` holds, whatever one request met."""
        if "json_schema" in model.capabilities:
            found = replace(found, adjustments=replace(found.adjustments, schema_form=SchemaForm.STRICT))
        digest = identity(model)
        before = self._found.get(digest, NO_TRAITS)
        after = before.merged(replace(found, at=time.time()))
        if after == before:
            return
        self._found[digest] = after
        self.learned(digest, after)
        if after.context != before.context:
            self.changed()

    def forget(self, model: Model) -> None:
        """Ask the model for everything again, in every replica."""
        digest = identity(model)
        self._found.pop(digest, None)
        self.learned(digest, None)
        self.changed()

    def forget_context(self, model: Model) -> None:
        """Its server serves another context now than when calls showed one; forget that one in every replica."""
        digest = identity(model)
        rest = replace(self._found.get(digest, NO_TRAITS), context=None)
        if digest in self._found:
            self._found[digest] = rest
        self.context_forgotten(digest, rest)

    def take_over(self, found: Mapping[str, Traits]) -> None:
        """What all replicas know, in place of what was known here."""
        before = {digest: traits.context for digest, traits in self._found.items()}
        self._found = dict(found)
        if {digest: traits.context for digest, traits in found.items()} != before:
            self.changed()


def identity(model: Model) -> str:
    """Of a model as it is configured: a changed entry begins with nothing found out."""
    parts = (
        *(model.name, model.base_url, model.upstream, str(model.context), str(model.context_declared)),
        *sorted(model.capabilities),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
