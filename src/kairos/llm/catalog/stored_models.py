"""The models of stored providers, read from PostgreSQL and kept up to date on this daemon.

A notice announces a change, and every second a digest of all providers is compared in case a notice was lost. Only the
providers of an owner whose digest has changed are read again. A provider whose key cannot be decrypted keeps its models
in the catalogue, marked with the problem; all others are not affected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from kairos import redis_keys
from kairos.components import ComponentState, ComponentStatus
from kairos.db.engine import Database, Session
from kairos.db.repositories import providers
from kairos.db.repositories.providers import AnyModel, AnyProvider
from kairos.encryption.envelope import SecretUnreadable
from kairos.encryption.master_keys import MasterKeys
from kairos.errors import EngineUnavailable
from kairos.llm.catalog import prices
from kairos.llm.catalog.catalog import Model, ModelOrigin, Price
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind
from kairos.llm.catalog.provider_secrets import NO_SECRET, ProviderSecret, SecretPlace, unseal
from kairos.pubsub import PubSub
from kairos.tenancy import NOBODY, ProjectId

log = logging.getLogger(__name__)

POLL_S = 1.0
DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class OwnedProviders:
    """The providers of one owner, as this daemon knows them."""

    state: str
    models: tuple[Model, ...]
    names: frozenset[str]
    """The names of all models, disabled ones included."""
    problems: Mapping[UUID, str]
    """Providers whose secret cannot be decrypted here, with the reason."""
    problem_names: tuple[str, ...]
    """The names of those providers."""


class StoredModels:
    """Keeps the stored models of this daemon up to date."""

    def __init__(self, database: Database, pubsub: PubSub, keys: MasterKeys) -> None:
        self.keys = keys
        self.on_change: Callable[[Sequence[Model]], None] = lambda models: None
        """Called with all stored models after each change."""
        self._database = database
        self._pubsub = pubsub
        self._owned: dict[UUID | None, OwnedProviders] = {}
        self._secrets: dict[tuple[UUID | None, UUID, int], ProviderSecret] = {}
        """The decrypted secrets in use, by owner, provider and version."""
        self._refresh_lock = asyncio.Lock()

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of all projects, the shared ones first. For internal use only; never show them."""
        owners = sorted(self._owned, key=lambda owner: (owner is not None, str(owner)))
        return tuple(model for owner in owners for model in self._owned[owner].models)

    @property
    def shared_names(self) -> frozenset[str]:
        """The names of all shared stored models, disabled ones included."""
        shared = self._owned.get(None)
        return shared.names if shared else frozenset()

    def problem(self, project_id: UUID | None, provider_id: UUID) -> str | None:
        """Why this daemon cannot use a provider; None if it can."""
        owned = self._owned.get(project_id)
        return owned.problems.get(provider_id) if owned else None

    def readiness(self) -> ComponentStatus:
        """Whether all keys can be decrypted. Providers of projects are counted, not named: everyone may read this."""
        shared = self._owned.get(None)
        names = list(shared.problem_names) if shared else []
        own = sum(len(owned.problems) for owner, owned in self._owned.items() if owner is not None)
        if not names and not own:
            return ComponentStatus(ComponentState.OK, "all keys of stored providers can be decrypted")
        which = [*names, *([f"{own} of projects"] if own else [])]
        return ComponentStatus(
            ComponentState.DEGRADED,
            f"the keys of these providers cannot be decrypted here: {', '.join(which)}. Restore this daemon's master "
            "key, or enter the keys again (docs/how-to/providers.md)",
        )

    async def run(self) -> None:
        """Apply changes until cancelled. Runs as a background task of the daemon."""
        await self._pubsub.follow(
            redis_keys.providers_channel(), POLL_S, self.refresh, _log_outage, jitter=(0.8, 1), at_once=False
        )

    async def notify(self) -> None:
        """Apply a committed change here and announce it to the other daemons, which otherwise find it by polling."""
        with suppress(EngineUnavailable):
            await self._pubsub.publish(redis_keys.providers_channel(), b"")
        try:
            await self.refresh()
        except EngineUnavailable as error:
            _log_outage(error)

    async def refresh(self, _: object = None) -> None:
        """Read the providers that have changed. Raises `EngineUnavailable`."""
        async with self._refresh_lock:
            if any(owned.problems for owned in self._owned.values()) and self.keys.reread():
                self._owned = {owner: _stale(owned) for owner, owned in self._owned.items()}
            async with self._database.system() as connection:
                states = await providers.states(connection)
            changed = [owner for owner, state in states.items() if not self._is_current(owner, state)]
            gone = self._owned.keys() - states.keys()
            if not changed and not gone:
                return
            owned = {owner: known for owner, known in self._owned.items() if owner in states}
            for owner in changed:
                owned[owner] = await self._read(owner, states[owner])
            self._secrets = {key: secret for key, secret in self._secrets.items() if key[0] in owned}
            self._owned = owned
            self.on_change(self.models)

    def _is_current(self, owner: UUID | None, state: str) -> bool:
        known = self._owned.get(owner)
        return known is not None and known.state == state

    async def _read(self, owner: UUID | None, state: str) -> OwnedProviders:
        scope = self._database.scope(NOBODY) if owner is None else self._database.project(ProjectId(owner))
        async with scope as session:
            rows, models = await _rows(session, owner)
        if self._needs_other_key(rows):
            self.keys.reread()
        return self._owned_of(owner, state, rows, models)

    def _needs_other_key(self, rows: Sequence[AnyProvider]) -> bool:
        return any(row.sealed is not None and row.master_key not in self.keys.ring for row in rows)

    def _owned_of(
        self, owner: UUID | None, state: str, rows: Sequence[AnyProvider], models: Sequence[AnyModel]
    ) -> OwnedProviders:
        found: list[Model] = []
        problems: dict[UUID, str] = {}
        known = {(owner, row.id, row.version) for row in rows}
        self._secrets = {key: secret for key, secret in self._secrets.items() if key[0] != owner or key in known}
        for row in rows:
            secret, problem = self._secret(owner, row)
            if problem is not None:
                problems[row.id] = problem
                self._log_problem(owner, row, problem)
            enabled = [model for model in models if model.provider_id == row.id and model.enabled]
            found += [model_of(owner, row, model, secret, problem) for model in enabled]
        names = frozenset(catalog_name(owner, model.name) for model in models)
        return OwnedProviders(state, tuple(found), names, problems, tuple(r.name for r in rows if r.id in problems))

    def _secret(self, owner: UUID | None, row: AnyProvider) -> tuple[ProviderSecret, str | None]:
        """The secret of a provider, or the reason why it cannot be used."""
        try:
            secret = unseal(self.keys.ring, row.sealed, row.master_key, SecretPlace(row.id, owner, row.address))
        except SecretUnreadable as error:
            # A rotation changes the master key and not the version: the decrypted secret is still the right one.
            if kept := self._secrets.get((owner, row.id, row.version)):
                return kept, None
            return NO_SECRET, f"the key of the provider {row.name!r} cannot be decrypted: {error.values['reason']}"
        self._secrets[owner, row.id, row.version] = secret
        return secret, None

    def _log_problem(self, owner: UUID | None, row: AnyProvider, problem: str) -> None:
        if self.problem(owner, row.id) != problem:
            log.warning("%s (provider %s). Restore the master key in %s", problem, row.id, self.keys.place)


def model_of(
    owner: UUID | None, provider: AnyProvider, row: AnyModel, secret: ProviderSecret, problem: str | None
) -> Model:
    """The catalogue's entry of a stored model."""
    priced = row.price_input is not None and row.price_output is not None
    return Model(
        name=catalog_name(owner, row.name),
        upstream=row.upstream,
        base_url=provider.address,
        api_key=secret.key,
        protocol=KINDS[ProviderKind(provider.kind)].protocol,
        local=stays_local(provider.kind, provider.local, row.upstream),
        price=Price(row.price_input, row.price_output) if priced else None,  # type: ignore[arg-type]
        context=row.context or DEFAULT_CONTEXT,
        context_declared=row.context is not None,
        specialties=frozenset(row.specialties),
        tier=row.tier,
        capabilities=frozenset(row.capabilities),
        project_id=None if owner is None else ProjectId(owner),
        origin=ModelOrigin.STORED,
        provider_id=provider.id,
        headers=secret.headers,
        ca=provider.ca,
        public_only=owner is not None,
        price_per_hour=row.price_per_hour,
        price_at=row.price_at,
        price_source=row.price_source,
        problem=problem,
    )


def stays_local(kind: str, local: bool, upstream: str) -> bool:
    """Whether prompts to a model of a (local) provider stay on the operator's hardware. Ollama also serves models of
    its cloud."""
    return local and (kind != ProviderKind.OLLAMA or prices.is_local(kind, upstream))


def catalog_name(owner: UUID | None, name: str) -> str:
    """The name of a model in the catalogue.

    A project's own models carry the end of its id, as its adapters do: statistics, health and decisions identify a
    model by its name, and two projects may choose the same one.
    """
    return name if owner is None else f"{name}@{owner.hex[-8:]}"


async def _rows(session: Session, owner: UUID | None) -> tuple[Sequence[AnyProvider], Sequence[AnyModel]]:
    return await providers.all_of(session, owner), await providers.models_of(session, owner)


def _stale(owned: OwnedProviders) -> OwnedProviders:
    """The same providers, to be read again."""
    return OwnedProviders("", owned.models, owned.names, owned.problems, owned.problem_names)


def _log_outage(error: EngineUnavailable) -> None:
    log.warning("the stored providers could not be refreshed: %s", error)
