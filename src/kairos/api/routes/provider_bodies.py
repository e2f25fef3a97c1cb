"""Requests and responses of the endpoints for providers, shared and projects' own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from kairos.api.access.auth import Body
from kairos.encryption.master_keys import KeySource
from kairos.llm.calls.server_problems import ServerProblem, ServerProblemKind
from kairos.llm.calls.upstream_models import DatedPrice, UpstreamModel
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind
from kairos.llm.catalog.stored_models import catalog_name, stays_local
from kairos.orchestration.providers.provider_input import ModelDraft, PriceDraft, ProviderDraft
from kairos.orchestration.providers.provider_store import StoredProvider
from kairos.text import Position, Text

MOST_LISTED = 1000
"""Models of a server in one response; `search` finds the others."""
Usd = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Name = Annotated[Text, Field(min_length=1, max_length=200, pattern=r"\S")]


def _distinct(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


Words = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=100)]], Field(max_length=50), AfterValidator(_distinct)
]


class ServerBody(Body):
    """An address and what its requests carry."""

    kind: ProviderKind
    address: Text | None = Field(None, max_length=2000, description="Without it, the kind's usual address.")
    key: Text | None = Field(None, max_length=10_000, description="Stored encrypted, and never returned.")
    headers: dict[Text, Text] = Field(
        {}, max_length=20, description="Extra headers of every request, stored encrypted like the key."
    )
    ca: Text | None = Field(None, max_length=65_536, description="Certificate of its own authority, in PEM.")

    def draft(self, name: str = "", local: bool | None = None) -> ProviderDraft:
        return ProviderDraft(self.kind, name, self.address, self.key, self.headers, self.ca, local)


class TestBody(ServerBody):
    search: Text | None = Field(None, max_length=200, description="Part of the names of the models to return.")


class ProviderBody(ServerBody):
    name: Name
    local: bool | None = Field(
        None,
        description="Whether prompts stay on your hardware. Without it: yes for a local kind at a private address.",
    )


class ProviderPatch(Body):
    """Changed fields; those left out stay. null removes `key`, `headers` and `ca`."""

    version: Position = Field(description="The version that the change is based on.")
    name: Name | None = None
    address: Text | None = Field(None, max_length=2000)
    key: Text | None = Field(None, max_length=10_000)
    headers: dict[Text, Text] | None = Field(None, max_length=20)
    ca: Text | None = Field(None, max_length=65_536)
    local: bool | None = None

    def given(self) -> dict[str, Any]:
        """The fields in the request; a null that removes nothing is left out."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"version"}}
        return {name: value for name, value in given.items() if value is not None or name in ("key", "headers", "ca")}


class PriceBody(Body):
    """USD per million tokens."""

    input: Usd
    output: Usd
    at: date | None = Field(None, description="The day on which it was valid; today by default.")
    source: Text | None = Field(None, max_length=500)

    def draft(self) -> PriceDraft:
        return PriceDraft(self.input, self.output, self.at, self.source)


class ModelFields(Body):
    context: Annotated[int, Field(ge=256, le=2**31 - 1)] | None = Field(
        None, description="Tokens of prompt and answer together; null uses the server's value."
    )
    capabilities: Words = Field([], description="tools, vision, json_schema, no_json_schema.")
    price: PriceBody | None = Field(None, description="null is unknown, which is never treated as free.")
    price_per_hour: Usd | None = Field(None, description="USD per hour that a local server costs.")
    specialties: Words = Field([], description="Task types for which it is declared good.")
    tier: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="Declared quality in [0, 1], used until it is measured."
    )
    enabled: bool = True


class ModelBody(ModelFields):
    """A model to add. Without `price`, the price list's is used, if it has one."""

    upstream: Name = Field(description="The model's name on its server.")
    name: Name | None = Field(None, description="Name in Kairos; by default `kind/model`.")

    def draft(self) -> ModelDraft:
        return ModelDraft(
            upstream=self.upstream,
            name=self.name,
            context=self.context,
            capabilities=self.capabilities,
            price=self.price.draft() if self.price else None,
            priced="price" in self.model_fields_set,
            price_per_hour=self.price_per_hour,
            specialties=self.specialties,
            tier=self.tier,
            enabled=self.enabled,
        )


class ModelsBody(Body):
    models: list[ModelBody] = Field(min_length=1, max_length=100)


class ModelPatch(ModelFields):
    """Changed fields; those left out stay."""

    def given(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "price" in given:
            given["price"] = self.price.draft() if self.price else None
        return given


class KindOut(BaseModel):
    kind: ProviderKind
    title: str
    address: str | None = Field(description="The usual address; null if each account or server has its own.")
    local: bool = Field(description="Whether such servers usually run on your own hardware.")
    needs_key: bool
    protocol: str


class KindList(BaseModel):
    items: list[KindOut]


class DatedPriceOut(BaseModel):
    """USD per million tokens."""

    input: float
    output: float
    at: date | None
    source: str | None


class StoredModelOut(BaseModel):
    id: UUID
    name: str = Field(description="Name in the catalogue. A project's own models end with the project's id.")
    upstream: str
    local: bool
    context: int | None = Field(description="null: the server's value is used.")
    capabilities: list[str]
    price: DatedPriceOut | None = Field(description="null is unknown.")
    price_per_hour: float | None
    specialties: list[str]
    tier: float | None
    enabled: bool


class ProviderOut(BaseModel):
    id: UUID
    name: str
    kind: ProviderKind
    address: str
    local: bool
    has_key: bool = Field(description="The key itself is never returned, nor a part of it.")
    key_set_at: datetime | None = Field(description="When the key was set; it tells one key from another.")
    header_names: list[str]
    ca: str | None
    version: int
    changed_at: datetime
    problem: str | None = Field(description="Why the responding daemon cannot use it, such as a lost master key.")
    models: list[StoredModelOut]


class ProviderList(BaseModel):
    items: list[ProviderOut]


class UpstreamOut(BaseModel):
    name: str = Field(description="The model's name on its server.")
    local: bool
    context: int | None = Field(description="null is unknown.")
    capabilities: list[str] | None = Field(description="null is unknown.")
    price: DatedPriceOut | None = Field(description="null is unknown.")
    added: list[str] = Field(description="The names under which this provider already has it.")


class ServerProblemOut(BaseModel):
    kind: ServerProblemKind
    cause: str
    remedy: str


class TestOut(BaseModel):
    """The result of a test: models, or a problem."""

    ok: bool
    problem: ServerProblemOut | None
    total: int = Field(description="Models that the server lists and that match the search.")
    models: list[UpstreamOut] = Field(description=f"The first {MOST_LISTED}, those with a known price first.")


class RotationOut(BaseModel):
    master_key: str = Field(description="Id of the newest master key.")
    source: KeySource
    added: bool = Field(description="Whether Kairos made a new master key.")
    rewrapped: int = Field(description="Secrets that were encrypted again.")
    unreadable: int = Field(description="Secrets that no master key of the responding daemon decrypts.")


def kinds() -> KindList:
    return KindList(
        items=[
            KindOut(
                kind=kind,
                title=facts.title,
                address=facts.address,
                local=facts.local,
                needs_key=facts.needs_key,
                protocol=facts.protocol,
            )
            for kind, facts in KINDS.items()
        ]
    )


def provider_out(found: StoredProvider) -> ProviderOut:
    row, owner = found.row, getattr(found.row, "project_id", None)
    return ProviderOut(
        id=row.id,
        name=row.name,
        kind=ProviderKind(row.kind),
        address=row.address,
        local=row.local,
        has_key=row.key_set_at is not None,
        key_set_at=row.key_set_at,
        header_names=row.header_names,
        ca=row.ca,
        version=row.version,
        changed_at=row.changed_at,
        problem=found.problem,
        models=[
            StoredModelOut(
                id=model.id,
                name=catalog_name(owner, model.name),
                upstream=model.upstream,
                local=stays_local(row.kind, row.local, model.upstream),
                context=model.context,
                capabilities=model.capabilities,
                price=_stored_price(model),
                price_per_hour=model.price_per_hour,
                specialties=model.specialties,
                tier=model.tier,
                enabled=model.enabled,
            )
            for model in found.models
        ],
    )


def listing_out(
    models: Sequence[UpstreamModel],
    kind: str,
    local: bool,
    search: str | None,
    found: StoredProvider | None = None,
) -> TestOut:
    """The models of a server whose names contain `search`."""
    wanted = [model for model in models if not search or search.lower() in model.name.lower()]
    owner = getattr(found.row, "project_id", None) if found else None
    added: dict[str, list[str]] = {}
    for row in found.models if found else ():
        added.setdefault(row.upstream, []).append(catalog_name(owner, row.name))
    return TestOut(
        ok=True,
        problem=None,
        total=len(wanted),
        models=[
            _upstream_out(model, stays_local(kind, local, model.name), added.get(model.name, []))
            for model in wanted[:MOST_LISTED]
        ],
    )


def problem_out(error: ServerProblem) -> TestOut:
    problem = ServerProblemOut(kind=error.kind, cause=error.cause, remedy=error.remedy)
    return TestOut(ok=False, problem=problem, total=0, models=[])


def _upstream_out(model: UpstreamModel, local: bool, added: list[str]) -> UpstreamOut:
    return UpstreamOut(
        name=model.name,
        local=local,
        context=model.context,
        capabilities=None if model.capabilities is None else sorted(model.capabilities),
        price=_listed_price(model.price),
        added=added,
    )


def _listed_price(price: DatedPrice | None) -> DatedPriceOut | None:
    if price is None:
        return None
    return DatedPriceOut(input=price.price.input, output=price.price.output, at=price.at, source=price.source)


def _stored_price(model: Any) -> DatedPriceOut | None:
    if model.price_input is None or model.price_output is None:
        return None
    return DatedPriceOut(
        input=model.price_input, output=model.price_output, at=model.price_at, source=model.price_source
    )
