"""The models that Kairos may call, and the catalogue that holds them by name."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

EMBEDDED_MODEL = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, as listed by the provider."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Return the cost of one call in US dollars."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


class ModelOrigin(StrEnum):
    """Where a model's entry comes from."""

    FILE = "file"
    """`kairos.toml`."""
    EMBEDDED = "embedded"
    """The embedded engine."""
    STORED = "stored"
    """A provider in the database."""
    ADAPTER = "adapter"


class AdapterHost(StrEnum):
    """The server of a base model's adapters."""

    EMBEDDED = "embedded"
    """llama.cpp, supervised by Kairos; each request selects an adapter."""
    OLLAMA = "ollama"
    VLLM = "vllm"
    """Loads adapters at runtime."""
    LLAMACPP = "llamacpp"
    """llama.cpp's server by address: loads adapters at its start, each request selects one."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, as used by the router and the providers."""

    name: str
    """Unique in the catalogue; used by users and in stored decisions."""
    upstream: str
    """The model's name on its server."""
    base_url: str
    """Address of the API. For the protocol `openai` it includes the version path: `http://127.0.0.1:11434/v1`."""
    api_key: str | None = field(default=None, repr=False)
    protocol: str = "openai"
    """The protocol of its server: `openai`, `ollama`, `anthropic`, or `plugin:` and the name of a plugin's provider."""
    local: bool = False
    """Whether prompts stay on the operator's hardware."""
    price: Price | None = None
    """None if unknown, which never counts as free. A local model without a price costs `FREE`."""
    context: int = 8192
    """Tokens of prompt and answer together."""
    context_declared: bool = True
    """Whether the configuration sets the context; otherwise the server's value is used."""
    specialties: frozenset[str] = frozenset()
    """Task types that the operator declares it good at: a prior that measurements soon outweigh."""
    tier: float | None = None
    """Declared prior quality in [0, 1]; None uses the router's default."""
    capabilities: frozenset[str] = frozenset()
    """Features that a request may require: `tools`, `vision`. `json_schema` and `no_json_schema` override what calls
    revealed."""
    runner: str | None = None
    """Models with the same runner share one loaded copy; switching between them causes a reload."""
    weights: str | None = None
    """The weights that its adapters are trained on: a GGUF file, or a folder in transformers format."""
    adapter_host: AdapterHost | None = None
    """None if the model supports no adapters."""
    adapters_path: str | None = None
    """The folder of adapters as the model's server sees it; None if it is the same as here."""
    project_id: ProjectId | None = None
    """The only project that may call or see it; set for adapters."""
    base: str | None = None
    """The name of an adapter's base model."""
    adapter_id: UUID | None = None
    share: float = 1.0
    """Share of the requests that may use it; less than 1 for a canary."""
    body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Extra fields in every request to it."""
    origin: ModelOrigin = ModelOrigin.FILE
    provider_id: UUID | None = None
    """The stored provider that it belongs to."""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    """Extra headers of every request to it. They may contain credentials."""
    ca: str | None = field(default=None, repr=False)
    """Certificates in PEM of the authorities that its server may have besides the system's."""
    public_only: bool = False
    """Whether only public addresses may be called, because a project chose the address."""
    price_per_hour: float | None = None
    """USD per hour that a local server costs; None is unknown."""
    price_at: date | None = None
    """The day of the price; None is unknown."""
    price_source: str | None = None
    problem: str | None = None
    """Why this daemon cannot call it, although it is configured: its key cannot be decrypted."""


class Catalog:
    """The model catalogue: the models of `kairos.toml` in their order, the stored ones, and the adapters served now.

    As a collection it contains only the models that all projects share, so iteration never reveals anything that
    belongs to one project. `of(project_id)` returns the models that a project may call.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        """`models` may include stored models, projects' own ones, and adapters."""
        every = list(models)
        stored = [model for model in every if _is_stored(model)]
        owned = [model for model in every if not _is_stored(model) and model.project_id is not None]
        configured = (model for model in every if not _is_stored(model) and model.project_id is None)
        self._configured = {model.name: model for model in configured}
        self._stored: dict[str, Model] = {}
        self._adapters: dict[str, Model] = {}
        self._wanted_adapters: tuple[Model, ...] = ()
        self._of: dict[Hashable, tuple[Model, ...]] = {}
        self.replace_stored(stored)
        self.replace_adapters(owned)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._every_projects)

    def __len__(self) -> int:
        return len(self._every_projects)

    def __contains__(self, name: object) -> bool:
        return name in self._shared

    @property
    def every(self) -> tuple[Model, ...]:
        """The models and adapters of all projects. For internal use only; never show them."""
        return tuple(self._by_name.values())

    @property
    def servers(self) -> tuple[Model, ...]:
        """The models of all projects without adapters: those whose servers every daemon calls alike."""
        return (*self._configured.values(), *self._stored.values())

    @property
    def adapters(self) -> tuple[Model, ...]:
        """The adapters of all projects. For internal use only; never show them."""
        return tuple(self._adapters.values())

    def replace_stored(self, models: Iterable[Model]) -> None:
        """Replace the stored models. One whose name a configured model has is skipped."""
        stored: dict[str, Model] = {}
        for model in models:
            if model.name in self._configured or model.name in stored:
                log.warning("the stored model %s is skipped: another model has that name", model.name)
                continue
            stored[model.name] = model
        self._stored = stored
        self._shared = {**self._configured, **{n: model for n, model in stored.items() if model.project_id is None}}
        self.replace_adapters(self._wanted_adapters)

    def replace_adapters(self, models: Iterable[Model]) -> None:
        """Replace the adapters. An adapter whose name is taken is skipped. Raises `ValueError` for a model without a
        project or base."""
        self._wanted_adapters = tuple(models)
        adapters: dict[str, Model] = {}
        for model in self._wanted_adapters:
            if model.project_id is None or model.base is None:
                raise ValueError(f"{model.name} is not an adapter: it has no project or no base")
            if model.name in self._configured or model.name in self._stored or model.name in adapters:
                log.warning("adapter %s is skipped: another model has that name", model.name)
                continue
            adapters[model.name] = model
        self._adapters = adapters
        self._every_projects = tuple(self._shared.values())
        self._by_name = {**adapters, **self._stored, **self._configured}
        owners = {model.project_id for model in self._by_name.values() if model.project_id is not None}
        self._of = {owner: self._with_own_of(owner) for owner in owners}

    def of(self, project_id: Hashable) -> tuple[Model, ...]:
        """Return the models that a project may call: the shared ones and its own, each followed by its adapters."""
        return self._of.get(project_id, self._every_projects)

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """The projects that have models or adapters of their own."""
        return tuple(self._of)

    def get(self, name: str) -> Model | None:
        """Return the model of that name, of any project. Use only for names from decisions, not from requests."""
        return self._by_name.get(name)

    def find(self, name: str, project_id: Hashable) -> Model | None:
        """Return the model of that name if the project may call it; None includes no project's own models."""
        model = self.get(name)
        return model if model is None or model.project_id in (None, project_id) else None

    def _with_own_of(self, owner: Hashable) -> tuple[Model, ...]:
        own = [model for model in self._stored.values() if model.project_id == owner]
        adapters = [model for model in self._adapters.values() if model.project_id == owner]
        bases = [*self._every_projects, *own]
        families = [[base, *(model for model in adapters if model.base == base.name)] for base in bases]
        names = {base.name for base in bases}
        orphans = [model for model in adapters if model.base not in names]
        return (*(model for family in families for model in family), *orphans)


def _is_stored(model: Model) -> bool:
    """Whether it is a model of a stored provider. An adapter of such a model is not."""
    return model.origin is ModelOrigin.STORED and model.base is None
