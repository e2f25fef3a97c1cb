"""The models Kairos may call: one frozen record each, and the catalogue that holds them by name."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

EMBEDDED_MODEL = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, as the provider lists them."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars for one call."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


class AdapterHost(StrEnum):
    """What serves the adapters of a base."""

    EMBEDDED = "embedded"
    """llama.cpp under our own supervisor; the adapter is chosen request by request."""
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class Model:
    """One model as the router and the providers see it."""

    name: str
    """Unique in the catalogue; what users write and what decisions are stored under."""
    upstream: str
    """The name the server knows the model by."""
    base_url: str
    """Address of the OpenAI-compatible API, with its version path: `http://127.0.0.1:11434/v1`."""
    api_key: str | None = None
    local: bool = False
    """Whether prompts stay on hardware that the operator owns."""
    price: Price | None = None
    """None is unknown, which is never treated as free. A local model without a price costs `FREE`."""
    context: int = 8192
    """Tokens of prompt and answer together."""
    context_declared: bool = True
    """Whether its entry names the context; else what its server says holds."""
    specialties: frozenset[str] = frozenset()
    """Task types its operator declares it good at: a prior that measurements soon outweigh."""
    tier: float | None = None
    """Declared prior quality in [0, 1]; None takes the router's default."""
    capabilities: frozenset[str] = frozenset()
    """What a request may demand of it: `tools`, `vision`. `json_schema` and `no_json_schema` overrule what was found
    out by calling it."""
    runner: str | None = None
    """Models with the same runner share one loaded copy: switching between them costs a reload."""
    weights: str | None = None
    """What its adapters are trained on: a GGUF file, or a folder in the format of transformers."""
    adapter_host: AdapterHost | None = None
    """None: this model gets no adapters."""
    project_id: ProjectId | None = None
    """The only project that may call it, or hear of it: set for adapters."""
    base: str | None = None
    """The model that it is an adapter of, by its name in the catalogue."""
    adapter_id: UUID | None = None
    share: float = 1.0
    """Share of the requests that may go to it: less than 1 for a canary."""
    body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields that every request to it carries beside the protocol's own."""


class Catalog:
    """The models of one Kairos: those of `kairos.toml`, in its order, and the adapters that are served at the moment.

    As a collection it is the configured models alone, which every project shares: whoever goes through them names and
    counts nothing that belongs to one project. What a project may call or hear of is `of(project_id)`.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        """Adapters may be among them."""
        every = list(models)
        self._shared = {model.name: model for model in every if model.project_id is None}
        self._every_projects = tuple(self._shared.values())
        self._adapters: dict[str, Model] = {}
        self._of: dict[Hashable, tuple[Model, ...]] = {}
        self.replace_adapters(model for model in every if model.project_id is not None)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._every_projects)

    def __len__(self) -> int:
        return len(self._shared)

    def __contains__(self, name: object) -> bool:
        return name in self._shared

    @property
    def adapters(self) -> tuple[Model, ...]:
        """Those of every project: for what stands above projects, never to be shown."""
        return tuple(self._adapters.values())

    def replace_adapters(self, models: Iterable[Model]) -> None:
        """These are the adapters from now on; the others leave. One whose name is taken stays out: a name has one
        meaning. Raises `ValueError` for a model that names no project or no base."""
        adapters: dict[str, Model] = {}
        for model in models:
            if model.project_id is None or model.base is None:
                raise ValueError(f"{model.name} is no adapter: it names no project or no base")
            if model.name in self._shared or model.name in adapters:
                log.warning("the adapter %s is left out: another model has that name", model.name)
                continue
            adapters[model.name] = model
        self._adapters = adapters
        owners = {model.project_id for model in adapters.values()}
        self._of = {owner: self._with_adapters_of(owner) for owner in owners}

    def of(self, project_id: Hashable) -> tuple[Model, ...]:
        """What a project may call or hear of: the shared models, each with the project's own adapters behind it."""
        return self._of.get(project_id, self._every_projects)

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """The projects that have adapters."""
        return tuple(self._of)

    def get(self, name: str) -> Model | None:
        """The model of that name, whosever it is: for names that came out of a decision, not out of a request."""
        return self._shared.get(name) or self._adapters.get(name)

    def find(self, name: str, project_id: Hashable) -> Model | None:
        """The same for one project: the adapter of another one is as a name that does not exist. None is no project."""
        model = self.get(name)
        return model if model is None or model.project_id in (None, project_id) else None

    def _with_adapters_of(self, owner: Hashable) -> tuple[Model, ...]:
        own = [model for model in self._adapters.values() if model.project_id == owner]
        families = [[shared, *(model for model in own if model.base == shared.name)] for shared in self]
        orphans = [model for model in own if model.base not in self._shared]
        return (*(model for family in families for model in family), *orphans)
