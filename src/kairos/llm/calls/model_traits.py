"""What calls revealed about each model: the parameters that its server refuses, and its actual context."""

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
"""A capability that prevents JSON schemas from being sent to a model."""
EXPIRY_S = 7 * 24 * 3600.0
"""Traits expire after this time, because servers are updated."""
MIN_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class Traits:
    """What calls revealed about one model's server."""

    adjustments: Adjustments = UNADJUSTED
    context: int | None = None
    """Tokens of prompt and answer together, if calls revealed fewer than declared."""
    at: float = field(default=0.0, compare=False)
    """Time of the last change."""

    def merged(self, other: Traits) -> Traits:
        """Merge two sets of traits. The smaller context wins."""
        contexts = [context for context in (self.context, other.context) if context is not None]
        return Traits(self.adjustments.merged(other.adjustments), min(contexts, default=None), max(self.at, other.at))

    def to_json(self) -> bytes:
        value = {"adjustments": self.adjustments.to_dict(), "context": self.context, "at": self.at}
        return orjson.dumps(value)

    @classmethod
    def from_json(cls, raw: bytes) -> Traits | None:
        """Parse stored traits; None if another version of Kairos wrote them."""
        try:
            value: dict[str, Any] = orjson.loads(raw)
            context = value["context"]
            found = Adjustments.from_dict(value["adjustments"])
            return cls(found, None if context is None else max(MIN_CONTEXT, int(context)), float(value["at"]))
        except (ValueError, TypeError, KeyError):
            return None


NO_TRAITS = Traits()


class ModelTraits:
    """The traits of each model, in memory; `shared_traits.py` shares them. Every method returns immediately."""

    def __init__(self) -> None:
        self._found: dict[str, Traits] = {}
        self.learned: Callable[[str, Traits | None], None] = lambda digest, traits: None
        """Called with traits learned here; None if they were discarded."""
        self.context_discarded: Callable[[str, Traits], None] = lambda digest, rest: None
        """Called with the remaining traits after a context was discarded."""
        self.changed: Callable[[], None] = lambda: None
        """Called after each change of a context."""

    def of(self, model: Model) -> Traits:
        """Return a model's traits, with its configured capabilities applied."""
        found = self._found.get(identity(model), NO_TRAITS)
        if NO_SCHEMA in model.capabilities:
            return replace(found, adjustments=found.adjustments.merged(Adjustments(schema_form=SchemaForm.NONE)))
        return found

    def learn(self, model: Model, found: Traits) -> None:
        """Merge new traits into the known ones. A declared `json_schema` capability overrides what a request
        revealed."""
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

    def discard(self, model: Model) -> None:
        """Discard all traits of a model, on every replica."""
        digest = identity(model)
        self._found.pop(digest, None)
        self.learned(digest, None)
        self.changed()

    def discard_context(self, model: Model) -> None:
        """Discard the context that calls revealed, on every replica, because the server has changed it."""
        digest = identity(model)
        rest = replace(self._found.get(digest, NO_TRAITS), context=None)
        if digest in self._found:
            self._found[digest] = rest
        self.context_discarded(digest, rest)

    def replace_all(self, found: Mapping[str, Traits]) -> None:
        """Replace the local traits with those of all replicas."""
        before = {digest: traits.context for digest, traits in self._found.items()}
        self._found = dict(found)
        if {digest: traits.context for digest, traits in found.items()} != before:
            self.changed()


def identity(model: Model) -> str:
    """Return a hash of a model's configuration. A changed configuration starts without traits."""
    parts = (
        *(model.name, model.base_url, model.upstream, str(model.context), str(model.context_declared)),
        *sorted(model.capabilities),
        *(() if model.protocol == "openai" else (model.protocol,)),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
