"""Responses of the search for local model servers."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from kairos.llm.catalog.provider_kinds import ProviderKind
from kairos.orchestration.providers.local_servers import NotFoundCause


class LocalServerOut(BaseModel):
    kind: ProviderKind
    address: str
    models: int = Field(description="Models that it lists.")
    needs_key: bool = Field(description="Whether it refused to list its models without a key.")
    problem: str | None = Field(description="Why it lists no models; it may not be a model server.")
    provider_id: UUID | None = Field(description="The shared provider with this server, if there is one.")
    from_file: bool = Field(description="Whether an entry of kairos.toml has this server.")


class TriedHostOut(BaseModel):
    name: str
    known: bool = Field(description="False if the name cannot be resolved.")


class LocalServersOut(BaseModel):
    servers: list[LocalServerOut]
    hosts: list[TriedHostOut] = Field(description="The hosts that were tried.")
    in_container: bool = Field(description="Whether the responding daemon probably runs in a container.")
    causes: list[NotFoundCause] = Field(description="The usual causes, if no server lists models.")
