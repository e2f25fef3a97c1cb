"""Lists what is installed and loaded on an Ollama server, and deletes models there that the catalogue does not use."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.models import AuditAction
from kairos.db.repositories.access import people
from kairos.errors import Conflict
from kairos.fine_tuning.adapters.ollama_calls import full_name
from kairos.http import server_root
from kairos.llm.calls.ollama_traits import UNKNOWN, OllamaTraits, described
from kairos.llm.calls.server_problems import ServerProblem, ServerProblemKind
from kairos.llm.catalog.catalog import Catalog
from kairos.llm.catalog.stored_models import catalog_name
from kairos.orchestration.providers.ollama.installed_models import InstalledModel, LoadedModel
from kairos.orchestration.providers.ollama.managed_ollama import ManagedOllama
from kairos.orchestration.providers.ollama.model_name import clean_model_name
from kairos.orchestration.providers.ollama.ollama_servers import OllamaServers
from kairos.orchestration.providers.provider_store import ProviderOwner, StoredProvider

AT_ONCE = 8
LIMIT_S = 20.0
"""Longest time of a listing, waiting for others included."""
MOST_KEPT = 2000
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class OllamaListing:
    """The models of a server, as it reports them now."""

    provider: StoredProvider
    installed: Sequence[InstalledModel]
    traits: Mapping[str, OllamaTraits]
    """By name; for every installed model."""
    loaded: Sequence[LoadedModel]


class OllamaModels:
    """The models of the Ollama servers of stored providers."""

    def __init__(self, database: Database, servers: OllamaServers, catalog: Catalog) -> None:
        self._database = database
        self._servers = servers
        self._catalog = catalog
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._traits: OrderedDict[tuple[UUID, str, str], OllamaTraits] = OrderedDict()
        """By provider, name and digest of the manifest. The oldest ones are dropped."""

    async def list(self, owner: ProviderOwner, provider_id: UUID) -> OllamaListing:
        """The installed and loaded models. Raises `NotFound`, `NotOllama`, `ServerProblem`."""
        found = await self._servers.provider(owner, provider_id)
        server = self._servers.server(owner, found)
        try:
            async with asyncio.timeout(LIMIT_S), self._slots:
                installed, loaded = await server.installed(), await server.loaded()
                await self._describe(server, provider_id, installed)
        except TimeoutError:
            cause = f"listing its models took more than {LIMIT_S:g} s"
            remedy = "Check that the server is running and not overloaded"
            raise ServerProblem(ServerProblemKind.TIMEOUT, cause, remedy) from None
        traits = {model.name: self._traits.get(_key(provider_id, model), UNKNOWN) for model in installed}
        return OllamaListing(found, installed, traits, loaded)

    async def delete(self, owner: ProviderOwner, provider_id: UUID, name: str) -> None:
        """Delete a model from the server's disk.

        Raises `NotFound`, `NotOllama`, `InvalidInput`, `Conflict` if the catalogue uses it, `ModelNotInstalled`,
        `ServerProblem`.
        """
        name = clean_model_name(name)
        found = await self._servers.provider(owner, provider_id)
        self._check_unused(owner, found, name)
        await self._servers.server(owner, found).delete(name)
        async with self._database.scope(owner.scope) as session:
            await people.audit(
                session,
                AuditAction.PROVIDER_MODEL_UNINSTALLED,
                user_id=owner.user_id,
                project_id=owner.project_id,
                target=name,
                data={"provider": found.row.name},
            )

    async def _describe(self, server: ManagedOllama, provider_id: UUID, models: Sequence[InstalledModel]) -> None:
        """Ask for the context and the capabilities of models that are not known yet."""
        unknown = {model.name: _key(provider_id, model) for model in models}
        unknown = {name: key for name, key in unknown.items() if key not in self._traits}
        for name, traits in (await described(list(unknown), server.describe)).items():
            self._traits[unknown[name]] = traits
        while len(self._traits) > MOST_KEPT:
            self._traits.popitem(last=False)

    def _check_unused(self, owner: ProviderOwner, found: StoredProvider, name: str) -> None:
        """Raise `Conflict` if the catalogue has the model, whichever provider or entry it belongs to."""
        rows = [row for row in found.models if full_name(row.upstream) == full_name(name)]
        using = {catalog_name(owner.project_id, row.name) for row in rows}
        root, hidden = _root(found.row.address), False
        for model in self._catalog.every:
            if _root(model.base_url) == root and full_name(model.upstream) == full_name(name):
                visible = model.project_id in (None, owner.project_id)
                using |= {model.name} if visible else set()
                hidden |= not visible and self._servers.is_operators(owner, found)
        if using:
            names = ", ".join(sorted(using)[:MOST_NAMED])
            remedy = "Remove it there first (`kairos model remove`, or its entry in kairos.toml)"
            raise Conflict(what=f"Deleting {name}", reason=f"the catalogue of Kairos has it as {names}", remedy=remedy)
        if hidden:
            remedy = "Its owners must remove it from their catalogue first"
            raise Conflict(what=f"Deleting {name}", reason="a project uses it", remedy=remedy)


def _key(provider_id: UUID, model: InstalledModel) -> tuple[UUID, str, str]:
    return provider_id, model.name, model.digest


def _root(address: str) -> str:
    return server_root(address).lower()
