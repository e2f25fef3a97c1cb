"""Encrypts the data keys of all stored providers with the newest master key."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.models import AuditAction
from kairos.db.repositories import providers
from kairos.db.repositories.access import people
from kairos.db.repositories.providers import AnyProvider
from kairos.db.repositories.queue import replicas
from kairos.encryption.envelope import SealedSecret, SecretUnreadable
from kairos.encryption.master_keys import KeySource, MasterKeys
from kairos.errors import Conflict
from kairos.llm.catalog.provider_secrets import SecretPlace
from kairos.llm.catalog.stored_models import StoredModels
from kairos.tenancy import NOBODY, ProjectId, Scope, UserId


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a rotation did."""

    master_key: str
    """Id of the newest master key."""
    source: KeySource
    added: bool
    """Whether Kairos made a new master key."""
    rewrapped: int
    unreadable: int
    """Providers whose secrets no master key of this daemon decrypts; they stay as they are."""


class MasterKeyRotation:
    """Rotates the master key while daemons read and write secrets."""

    def __init__(self, database: Database, stored: StoredModels) -> None:
        self._database = database
        self._stored = stored

    @property
    def _keys(self) -> MasterKeys:
        return self._stored.keys

    async def rotate(self, user_id: UserId) -> RotationResult:
        """Add a master key if Kairos keeps them itself, and encrypt every data key with the newest one. Safe to repeat.

        Raises `Conflict` if several daemons run and only this one would know a new key.
        """
        added = self._keys.source is KeySource.DATA_FOLDER
        if added:
            await self._check_alone()
            self._keys.add()
        else:
            self._keys.reread()
        async with self._database.system() as connection:
            owners = list(await providers.states(connection))
        counts = [await self._rewrap_all(owner, user_id) for owner in owners]
        newest = self._keys.ring.newest.id
        result = RotationResult(
            newest, self._keys.source, added, sum(done for done, _ in counts), sum(failed for _, failed in counts)
        )
        data = {"master_key": newest, "rewrapped": result.rewrapped, "unreadable": result.unreadable}
        async with self._database.scope(Scope(user_id=user_id, operator=True)) as session:
            await people.audit(session, AuditAction.MASTER_KEY_ROTATED, user_id=user_id, data=data)
        await self._stored.notify()
        return result

    async def _check_alone(self) -> None:
        async with self._database.scope(NOBODY) as session:
            alive = sum(replica.alive for replica in await replicas.known(session))
        if alive > 1:
            raise Conflict(
                what="Adding a master key",
                reason=f"{alive} daemons run, and the others do not read {self._keys.place}",
                remedy="Give all of them the same keys in KAIROS_MASTER_KEY or `providers.master_key_file`",
            )

    async def _rewrap_all(self, owner: UUID | None, user_id: UserId) -> tuple[int, int]:
        """The number of secrets that were encrypted again, and of those that could not."""
        project_id = ProjectId(owner) if owner else None
        done = failed = 0
        async with self._database.scope(Scope(project_id, user_id, operator=owner is None)) as session:
            for listed in await providers.all_of(session, owner):
                row = await providers.one(session, owner, listed.id, lock=True)
                if row is None or row.sealed is None or row.master_key == self._keys.ring.newest.id:
                    continue
                try:
                    sealed = self._rewrapped(owner, row)
                except SecretUnreadable:
                    failed += 1
                    continue
                await providers.rewrapped(session, row, sealed.data, sealed.master_key)
                done += 1
        return done, failed

    def _rewrapped(self, owner: UUID | None, row: AnyProvider) -> SealedSecret:
        before = SealedSecret(row.sealed or b"", row.master_key or "")
        return self._keys.ring.rewrapped(before, str(SecretPlace(row.id, owner, row.address)))
