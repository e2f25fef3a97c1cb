"""Adds, changes and removes stored providers and their models, for operators and for the owners of projects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from kairos.config import Settings
from kairos.config_reference import value_of
from kairos.db.engine import Database, Duplicate, Session
from kairos.db.models import AuditAction
from kairos.db.repositories import providers
from kairos.db.repositories.access import people
from kairos.db.repositories.providers import AnyModel, AnyProvider
from kairos.encryption.envelope import SecretUnreadable
from kairos.errors import Conflict, InvalidInput, KairosError, NotFound
from kairos.host_literals import literal
from kairos.llm.catalog import prices
from kairos.llm.catalog.catalog import Catalog, ModelOrigin
from kairos.llm.catalog.provider_kinds import ProviderKind, local_by_default
from kairos.llm.catalog.provider_secrets import NO_SECRET, ProviderSecret, SecretPlace, origin, seal, unseal
from kairos.llm.catalog.stored_models import StoredModels, catalog_name
from kairos.orchestration.configuration.configuration import Configuration
from kairos.orchestration.providers.provider_input import (
    ModelDraft,
    PriceDraft,
    ProviderDraft,
    check_project_address,
    clean_address,
    clean_ca,
    clean_headers,
    clean_secret,
    model_name,
    plain_name,
    price_values,
)
from kairos.public_addresses import is_listed
from kairos.tenancy import ProjectId, Scope, UserId, new_id

MOST_PROVIDERS = 100
MOST_MODELS = 500
MODEL_SETTINGS = ("default_llm_model", "router.last_resort", "judge.model")


class ProviderMoved(KairosError):
    """The provider {name} is at version {now}, and the change is based on version {based_on}. Read it again, and send
    your change for version {now}."""

    status, code, exit_code = 409, "provider_moved", 5


@dataclass(frozen=True, slots=True)
class ProviderOwner:
    """The caller, and the project whose providers are meant; None for the shared ones, which operators manage."""

    user_id: UserId
    project_id: ProjectId | None = None

    @property
    def scope(self) -> Scope:
        return Scope(self.project_id, self.user_id, operator=self.project_id is None)


@dataclass(frozen=True, slots=True)
class StoredProvider:
    """A provider with its models."""

    row: AnyProvider
    models: Sequence[AnyModel]
    problem: str | None
    """Why the answering daemon cannot use it."""


class ProviderStore:
    """The stored providers. Every change is audited without secrets, and applied on all daemons."""

    def __init__(
        self, database: Database, stored: StoredModels, catalog: Catalog, configuration: Configuration
    ) -> None:
        self._database = database
        self._stored = stored
        self._catalog = catalog
        self._configuration = configuration

    async def list(self, owner: ProviderOwner) -> list[StoredProvider]:
        async with self._database.scope(owner.scope) as session:
            rows = await providers.all_of(session, owner.project_id)
            models = await providers.models_of(session, owner.project_id)
        return [self._with_models(owner, row, [m for m in models if m.provider_id == row.id]) for row in rows]

    async def get(self, owner: ProviderOwner, provider_id: UUID) -> StoredProvider:
        """Raises `NotFound`."""
        async with self._database.scope(owner.scope) as session:
            return await self._read(session, owner, await _row(session, owner, provider_id))

    async def create(self, owner: ProviderOwner, draft: ProviderDraft) -> StoredProvider:
        """Raises `InvalidInput`, `Duplicate`, `Conflict`."""
        provider_id, address = new_id(), clean_address(draft.kind, draft.address)
        secret = ProviderSecret(clean_secret(draft.key), clean_headers(draft.headers))
        self._check_address(owner, address)
        values = {
            "id": provider_id,
            "name": plain_name(draft.name, "name"),
            "kind": draft.kind,
            "address": address,
            "local": self.is_local(owner, draft.kind, address, draft.local),
            "ca": clean_ca(draft.ca),
            **self._sealed(secret, SecretPlace(provider_id, owner.project_id, address)),
        }
        async with _named_scope(self._database, owner, values["name"]) as session:
            await providers.lock_all(session, owner.project_id)
            if len(await providers.all_of(session, owner.project_id)) >= MOST_PROVIDERS:
                raise Conflict(
                    what="Another provider", reason=f"there are {MOST_PROVIDERS}", remedy="Remove some first"
                )
            row = await providers.add(session, owner.project_id, values)
            data = {"kind": draft.kind, "address": address, "key": secret.key is not None}
            await self._audit(session, owner, AuditAction.PROVIDER_CREATED, row.name, data)
            created = await self._read(session, owner, row)
        await self._stored.notify()
        return created

    async def change(
        self, owner: ProviderOwner, provider_id: UUID, version: int, given: Mapping[str, Any]
    ) -> StoredProvider:
        """Change the given fields: name, address, key, headers, ca, local. A key of None removes the stored one.

        Raises `NotFound`, `ProviderMoved`, `InvalidInput`, `Duplicate`.
        """
        async with _named_scope(self._database, owner, given.get("name")) as session:
            row = await _row(session, owner, provider_id, lock=True)
            if row.version != version:
                raise ProviderMoved(name=row.name, now=row.version, based_on=version)
            values = self._changed(owner, row, given)
            await providers.change(session, row, values)
            data = {"changed": sorted(given), "address": row.address}
            await self._audit(session, owner, AuditAction.PROVIDER_CHANGED, row.name, data)
            changed = await self._read(session, owner, row)
        await self._stored.notify()  # a new key may have solved the problem
        return replace(changed, problem=self._stored.problem(owner.project_id, provider_id))

    async def remove(self, owner: ProviderOwner, provider_id: UUID) -> None:
        """Remove a provider with its models. Running calls continue, and no new one begins. Raises `NotFound`,
        `Conflict` if a setting names one of its models."""
        async with self._database.scope(owner.scope) as session:
            row = await _row(session, owner, provider_id, lock=True)
            models = await providers.models_of(session, owner.project_id, provider_id)
            self._check_unnamed(owner, [model.name for model in models])
            await providers.remove(session, owner.project_id, provider_id)
            data = {"models": [model.name for model in models][:100]}
            await self._audit(session, owner, AuditAction.PROVIDER_DELETED, row.name, data)
        await self._stored.notify()

    async def add_models(self, owner: ProviderOwner, provider_id: UUID, drafts: Sequence[ModelDraft]) -> StoredProvider:
        """Add models, all or none. Raises `NotFound`, `InvalidInput`, `Duplicate`, `Conflict`."""
        async with self._database.scope(owner.scope) as session:
            await providers.lock_all(session, owner.project_id)
            row = await _row(session, owner, provider_id, lock=True)
            taken = {model.name for model in await providers.models_of(session, owner.project_id)}
            if len(taken) + len(drafts) > MOST_MODELS:
                raise Conflict(
                    what="Adding these models", reason=f"{MOST_MODELS} is the most", remedy="Remove some first"
                )
            for draft in drafts:
                name = self._free_name(owner, row, draft, taken)
                taken.add(name)
                values = {"id": new_id(), "name": name, **draft.values(ProviderKind(row.kind))}
                await providers.add_model(session, owner.project_id, provider_id, values)
                data = {"provider": row.name, "upstream": values["upstream"]}
                await self._audit(session, owner, AuditAction.PROVIDER_MODEL_ADDED, name, data)
            await providers.models_changed(session, row)
            changed = await self._read(session, owner, row)
        await self._stored.notify()
        return changed

    async def change_model(
        self, owner: ProviderOwner, provider_id: UUID, model_id: UUID, given: Mapping[str, Any]
    ) -> StoredProvider:
        """Change the given fields of a model: context, capabilities, price, price_per_hour, specialties, tier, enabled.

        Its names stay, because measurements and decisions refer to them. Raises `NotFound`, `Conflict`.
        """
        async with self._database.scope(owner.scope) as session:
            row = await _row(session, owner, provider_id, lock=True)
            models = await providers.models_of(session, owner.project_id, provider_id)
            model = next((model for model in models if model.id == model_id), None)
            if model is None:
                raise NotFound(what="model", id=model_id)
            values = dict(given)
            if "price" in values:
                price: PriceDraft | None = values.pop("price")
                values.update(price_values(price))
            if values.get("enabled") is False:
                self._check_unnamed(owner, [model.name])
            await providers.change_model(session, model, values)
            await providers.models_changed(session, row)
            data = {"provider": row.name, "changed": sorted(given)}
            await self._audit(session, owner, AuditAction.PROVIDER_MODEL_CHANGED, model.name, data)
            changed = await self._read(session, owner, row)
        await self._stored.notify()
        return changed

    async def remove_model(self, owner: ProviderOwner, provider_id: UUID, model_id: UUID) -> None:
        """Raises `NotFound`, `Conflict` if a setting names it."""
        async with self._database.scope(owner.scope) as session:
            row = await _row(session, owner, provider_id, lock=True)
            name = await providers.remove_model(session, owner.project_id, provider_id, model_id)
            if name is None:
                raise NotFound(what="model", id=model_id)
            self._check_unnamed(owner, [name])
            await providers.models_changed(session, row)
            await self._audit(session, owner, AuditAction.PROVIDER_MODEL_REMOVED, name, {"provider": row.name})
        await self._stored.notify()

    def secret_of(self, owner: ProviderOwner, row: AnyProvider) -> ProviderSecret:
        """The key and headers of a provider. Raises `SecretUnreadable`."""
        place = SecretPlace(row.id, owner.project_id, row.address)
        return unseal(self._stored.keys.ring, row.sealed, row.master_key, place)

    def check_address(self, owner: ProviderOwner, address: str) -> None:
        """Raise `InvalidInput` for a private address of a project that no operator has allowed."""
        self._check_address(owner, address)

    def is_listed(self, address: str) -> bool:
        """Whether an operator has listed the address's host in `providers.private_hosts`."""
        host = urlsplit(address).hostname or ""
        return is_listed(host, literal(host), self._settings.providers.private_hosts)

    def is_local(self, owner: ProviderOwner, kind: ProviderKind, address: str, wanted: bool | None) -> bool:
        """Whether a provider counts as local; `wanted` is its owner's choice.

        Raises `InvalidInput` if a project claims it for a host that no operator has listed.
        """
        if owner.project_id is None:
            return local_by_default(kind, address) if wanted is None else wanted
        listed = self.is_listed(address)
        if wanted and not listed:
            raise InvalidInput(
                where="local",
                problem="a project's provider is local only on a host that an operator has listed",
                remedy="Leave it out, or ask an operator to list the host in `providers.private_hosts`",
            )
        return listed if wanted is None else wanted

    def _changed(self, owner: ProviderOwner, row: AnyProvider, given: Mapping[str, Any]) -> dict[str, Any]:
        """The columns after a change."""
        kind, values = ProviderKind(row.kind), dict[str, Any]()
        address = clean_address(kind, given["address"]) if "address" in given else row.address
        self._check_address(owner, address)
        if "name" in given:
            values["name"] = plain_name(given["name"], "name")
        if "ca" in given:
            values["ca"] = clean_ca(given["ca"])
        if "local" in given or origin(address) != origin(row.address):
            values["local"] = self.is_local(owner, kind, address, given.get("local"))
        if {"key", "headers"} & given.keys() or origin(address) != origin(row.address):
            values.update(self._changed_secret(owner, row, address, given))
        return {**values, "address": address}

    def _changed_secret(
        self, owner: ProviderOwner, row: AnyProvider, address: str, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The encrypted columns. A stored key or header is sent only to the server that it was given for."""
        kept = NO_SECRET
        needed = {"key": row.key_set_at is not None, "headers": bool(row.header_names)}
        missing = [name for name, stored in needed.items() if stored and name not in given]
        if missing and origin(address) != origin(row.address):
            raise InvalidInput(
                where=missing[0],
                problem="the address now names another server, and the stored one was not given for it",
                remedy=f"Send `{missing[0]}` again, or null to remove it",
            )
        if missing:
            try:
                kept = self.secret_of(owner, row)
            except SecretUnreadable:
                raise InvalidInput(
                    where=missing[0],
                    problem="the stored one cannot be decrypted",
                    remedy=f"Send `{missing[0]}` again, or null to remove it",
                ) from None
        key = clean_secret(given["key"]) if "key" in given else kept.key
        headers = clean_headers(given["headers"] or {}) if "headers" in given else kept.headers
        values = self._sealed(ProviderSecret(key, headers), SecretPlace(row.id, owner.project_id, address))
        if "key" not in given:
            values["key_set_at"] = row.key_set_at
        return values

    def _sealed(self, secret: ProviderSecret, place: SecretPlace) -> dict[str, Any]:
        sealed = seal(self._stored.keys.ring, secret, place)
        return {
            "sealed": sealed.data if sealed else None,
            "master_key": sealed.master_key if sealed else None,
            "key_set_at": datetime.now(UTC) if secret.key is not None else None,
            "header_names": sorted(secret.headers),
        }

    def _check_address(self, owner: ProviderOwner, address: str) -> None:
        if owner.project_id is not None:
            check_project_address(address, self._settings.providers.private_hosts)

    def _free_name(self, owner: ProviderOwner, row: AnyProvider, draft: ModelDraft, taken: set[str]) -> str:
        """The name of a new model: the given one, or `kind/model`, or `provider/model`. Raises `Duplicate`."""
        if draft.name is not None and draft.name.strip():
            wanted = [model_name(draft.name)]
        else:
            plain = prices.plain_id(row.kind, plain_name(draft.upstream, "upstream"))
            wanted = [f"{row.kind}/{plain}", f"{row.name}/{plain}"]
        for name in wanted:
            other = self._catalog.get(catalog_name(owner.project_id, name))
            if name not in taken and (other is None or other.origin is ModelOrigin.STORED):
                return name
        raise Duplicate(detail=f"a model named {wanted[0]!r}")

    def _check_unnamed(self, owner: ProviderOwner, names: Sequence[str]) -> None:
        """Raise `Conflict` if a setting of the system names one of these models."""
        if owner.project_id is not None:
            return
        for key in MODEL_SETTINGS:
            if (name := value_of(self._settings, key)) in names:
                raise Conflict(
                    what=f"Removing the model {name}", reason=f"the setting `{key}` names it", remedy="Change it first"
                )

    @property
    def _settings(self) -> Settings:
        return self._configuration.live.now

    async def _read(self, session: Session, owner: ProviderOwner, row: AnyProvider) -> StoredProvider:
        return self._with_models(owner, row, await providers.models_of(session, owner.project_id, row.id))

    def _with_models(self, owner: ProviderOwner, row: AnyProvider, models: Sequence[AnyModel]) -> StoredProvider:
        return StoredProvider(row, models, self._stored.problem(owner.project_id, row.id))

    async def _audit(
        self, session: Session, owner: ProviderOwner, action: AuditAction, target: str, data: Mapping[str, Any]
    ) -> None:
        await people.audit(
            session, action, user_id=owner.user_id, project_id=owner.project_id, target=target, data=data
        )


@asynccontextmanager
async def _named_scope(database: Database, owner: ProviderOwner, name: str | None) -> AsyncIterator[Session]:
    """A transaction that gives a provider this name; PostgreSQL hides which value of a protected row is taken."""
    try:
        async with database.scope(owner.scope) as session:
            yield session
    except Duplicate as error:
        raise Duplicate(detail=f"a provider named {name!r}") from error


async def _row(session: Session, owner: ProviderOwner, provider_id: UUID, *, lock: bool = False) -> AnyProvider:
    row = await providers.one(session, owner.project_id, provider_id, lock=lock)
    if row is None:
        raise NotFound(what="provider", id=provider_id)
    return row
