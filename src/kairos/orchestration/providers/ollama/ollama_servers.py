"""Finds the Ollama server of a stored provider."""

from __future__ import annotations

from uuid import UUID

from kairos.errors import InvalidInput, KairosError
from kairos.llm.catalog.provider_kinds import ProviderKind
from kairos.orchestration.providers.ollama.managed_ollama import ManagedOllama
from kairos.orchestration.providers.ollama.model_name import PUBLIC_REGISTRIES, registry_of
from kairos.orchestration.providers.provider_store import ProviderOwner, ProviderStore, StoredProvider
from kairos.orchestration.providers.provider_test import ProviderHttp, stored_place


class NotOllama(KairosError):
    """The provider {name} is of the kind {kind}. Only on Ollama can models be listed as installed, pulled and deleted:
    add a provider of the kind ollama."""

    status, code, exit_code = 409, "not_ollama", 5


class OllamaServers:
    """The servers of stored providers of the kind ollama, with what their requests carry."""

    def __init__(self, store: ProviderStore, http: ProviderHttp) -> None:
        self._store = store
        self._http = http

    async def provider(self, owner: ProviderOwner, provider_id: UUID) -> StoredProvider:
        """The provider. Raises `NotFound`, `NotOllama`."""
        found = await self._store.get(owner, provider_id)
        if found.row.kind != ProviderKind.OLLAMA:
            raise NotOllama(name=found.row.name, kind=found.row.kind)
        return found

    def server(self, owner: ProviderOwner, found: StoredProvider) -> ManagedOllama:
        """The provider's server. Raises `ServerProblem` if its key cannot be decrypted."""
        http = self._http.shared if owner.project_id is None else self._http.projects
        return ManagedOllama(http, stored_place(self._store, owner, found))

    def is_operators(self, owner: ProviderOwner, found: StoredProvider) -> bool:
        """Whether the server is one that operators provide: a shared provider, or a host in `providers.private_hosts`,
        which several projects may use."""
        return owner.project_id is None or self._store.is_listed(found.row.address)

    def check_registry(self, owner: ProviderOwner, found: StoredProvider, name: str, *, insecure: bool) -> None:
        """Raise `InvalidInput` if a project would let a server of the operators call a host of the project's choice.

        Ollama connects to the host that a name contains, in its own network. A project's own server may do that.
        """
        if owner.project_id is None or not self._store.is_listed(found.row.address):
            return
        registry = registry_of(name)
        if insecure or (registry is not None and registry not in PUBLIC_REGISTRIES):
            raise InvalidInput(
                where="model",
                problem="this server is in a private network, and a project cannot let it call a host of its choice",
                remedy=f"Pull from {', '.join(sorted(PUBLIC_REGISTRIES))}, or ask an operator to pull it",
            )
