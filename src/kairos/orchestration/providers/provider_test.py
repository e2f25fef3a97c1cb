"""Tries an address and a key, and lists the models there, before and after a provider is stored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from kairos.encryption.envelope import SecretUnreadable
from kairos.http import HttpClient
from kairos.llm.calls.server_problems import ServerProblem, ServerProblemKind
from kairos.llm.calls.upstream_models import Place, UpstreamModel, list_upstream
from kairos.llm.catalog.provider_kinds import ProviderKind
from kairos.llm.catalog.provider_secrets import ProviderSecret
from kairos.orchestration.providers.provider_input import (
    ProviderDraft,
    clean_address,
    clean_ca,
    clean_headers,
    clean_secret,
)
from kairos.orchestration.providers.provider_store import ProviderOwner, ProviderStore, StoredProvider

AT_ONCE = 8
LIMIT_S = 20.0
"""Longest time of a test, waiting for others included."""


@dataclass(frozen=True, slots=True)
class ProviderHttp:
    """The clients that call providers."""

    shared: HttpClient
    projects: HttpClient
    """Reaches public addresses only, and those that an operator has listed."""


class ProviderTest:
    """Lists the models of providers' servers."""

    def __init__(self, store: ProviderStore, http: ProviderHttp) -> None:
        self._store = store
        self._http = http
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def of_draft(self, owner: ProviderOwner, draft: ProviderDraft) -> list[UpstreamModel]:
        """The models at an address that is not stored. Raises `InvalidInput`, `ServerProblem`."""
        address = clean_address(draft.kind, draft.address)
        self._store.check_address(owner, address)
        secret = ProviderSecret(clean_secret(draft.key), clean_headers(draft.headers))
        return await self._listed(owner, Place(draft.kind, address, secret, clean_ca(draft.ca)))

    async def of_stored(self, owner: ProviderOwner, provider_id: UUID) -> tuple[StoredProvider, list[UpstreamModel]]:
        """A stored provider, and the models of its server. Raises `NotFound`, `ServerProblem`."""
        found = await self._store.get(owner, provider_id)
        return found, await self._listed(owner, stored_place(self._store, owner, found))

    async def _listed(self, owner: ProviderOwner, place: Place) -> list[UpstreamModel]:
        own = owner.project_id is not None
        place = Place(place.kind, place.address, place.secret, place.ca, public_only=own)
        try:
            async with asyncio.timeout(LIMIT_S), self._slots:
                return await list_upstream(self._http.projects if own else self._http.shared, place)
        except TimeoutError:
            raise ServerProblem(
                ServerProblemKind.TIMEOUT, f"the test took more than {LIMIT_S:g} s", "Check that the server is running"
            ) from None


def stored_place(store: ProviderStore, owner: ProviderOwner, found: StoredProvider) -> Place:
    """The server of a stored provider. Raises `ServerProblem` if its key cannot be decrypted."""
    row = found.row
    try:
        secret = store.secret_of(owner, row)
    except SecretUnreadable as error:
        raise ServerProblem(
            ServerProblemKind.UNREADABLE_KEY,
            str(error.values["reason"]),
            "Restore the master key, or enter the key again",
        ) from None
    return Place(ProviderKind(row.kind), row.address, secret, row.ca, public_only=owner.project_id is not None)
