"""The models that Kairos may call, and the catalogue that holds them by name."""

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
    """US dollars per million tokens, as listed by the provider."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Return the cost of one call in US dollars."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


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
    api_key: str | None = None
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


class Catalog:
    """The model catalogue: the models of `kairos.toml` in their order, and the adapters served now.

    As a collection it contains only the configured models, which all projects share, so iteration never reveals
    anything that belongs to one project. `of(project_id)` returns the models that a project may call.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        """`models` may include adapters."""
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
        """The adapters of all projects. For internal use only; never show them."""
        return tuple(self._adapters.values())

    def replace_adapters(self, models: Iterable[Model]) -> None:
        """Replace the adapters. An adapter whose name is taken is skipped. Raises `ValueError` for a model without a
        project or base."""
        adapters: dict[str, Model] = {}
        for model in models:
            if model.project_id is None or model.base is None:
                raise ValueError(f"{model.name} is not an adapter: it has no project or no base")
            if model.name in self._shared or model.name in adapters:
                log.warning("adapter %s is skipped: another model has that name", model.name)
                continue
            adapters[model.name] = model
        self._adapters = adapters
        owners = {model.project_id for model in adapters.values()}
        self._of = {owner: self._with_adapters_of(owner) for owner in owners}

    def of(self, project_id: Hashable) -> tuple[Model, ...]:
        """Return the models that a project may call: the shared ones, each followed by the project's own adapters."""
        return self._of.get(project_id, self._every_projects)

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """The projects that have adapters."""
        return tuple(self._of)

    def get(self, name: str) -> Model | None:
        """Return the model of that name, of any project. Use only for names from decisions, not from requests."""
        return self._shared.get(name) or self._adapters.get(name)

    def find(self, name: str, project_id: Hashable) -> Model | None:
        """Return the model of that name if the project may call it; None includes no project's adapters."""
        model = self.get(name)
        return model if model is None or model.project_id in (None, project_id) else None

    def _with_adapters_of(self, owner: Hashable) -> tuple[Model, ...]:
        own = [model for model in self._adapters.values() if model.project_id == owner]
        families = [[shared, *(model for model in own if model.base == shared.name)] for shared in self]
        orphans = [model for model in own if model.base not in self._shared]
        return (*(model for family in families for model in family), *orphans)
