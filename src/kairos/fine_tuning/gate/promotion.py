"""Promotion and roll-back of adapters: by the evaluation gate, by people, and by the router's measurements.

candidate ─┬─► canary ──► live ──► retired ──► live …
           ├─► needs_approval ──► canary, or refused
           └─► refused

A canary serves a share of the requests beside the live adapter. It goes live after enough answers if it is not worse. A
canary or live adapter that is significantly worse than its predecessor is rolled back.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from kairos.background_tasks import every
from kairos.config import FineTuningSettings
from kairos.db.engine import Database, Session
from kairos.db.models import AdapterRow, AdapterState, AuditAction
from kairos.db.repositories import adapters
from kairos.db.repositories.access import people
from kairos.db.repositories.adapters import MeasuredQuality
from kairos.errors import Conflict, EngineUnavailable, KairosError, NotFound
from kairos.fine_tuning.adapters.adapters import AdapterFiles, StoredAdapter
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.adapters.serving import served_name
from kairos.fine_tuning.gate.evaluation import GateOutcome, GateReport
from kairos.llm.cache.response_cache import ResponseCache
from kairos.tenancy import ProjectId, UserId

log = logging.getLogger(__name__)

WATCH_S = 2.0
Z_95 = 1.645
"""One-sided 95 % of the normal distribution."""
LARGEST_VARIANCE = 0.25
"""Upper bound of the variance of a quality in [0, 1] (Popoviciu's inequality), used for few answers."""
REFERENCE_AGE = timedelta(days=90)
"""Older measurements of the reference are ignored."""

MAY_PROMOTE = (AdapterState.NEEDS_APPROVAL, AdapterState.CANARY, AdapterState.RETIRED)
MAY_DELETE = (
    AdapterState.CANDIDATE,
    AdapterState.NEEDS_APPROVAL,
    AdapterState.REFUSED,
    AdapterState.RETIRED,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The router's measurements of a deployed adapter and of its predecessor, for the same task types."""

    adapter: MeasuredQuality
    reference: MeasuredQuality

    @property
    def significantly_worse(self) -> bool:
        """Whether the adapter is worse at one-sided 95 %, by the normal approximation for two means."""
        a, b = self.adapter, self.reference
        if not a.answers or not b.answers:
            return False
        error = math.sqrt(LARGEST_VARIANCE / a.answers + LARGEST_VARIANCE / b.answers)
        return b.quality - a.quality > Z_95 * error

    def no_worse(self, margin: float) -> bool:
        return not self.reference.answers or self.adapter.quality >= self.reference.quality - margin

    def summary(self) -> str:
        a, b = self.adapter, self.reference
        return f"quality {a.quality:.2f} over {a.answers} answers, predecessor {b.quality:.2f} over {b.answers}"


class Promotions:
    """Changes the state of trained adapters. Each change is audited and propagated to all replicas."""

    def __init__(
        self,
        database: Database,
        deployments: AdapterDeployments,
        files: AdapterFiles,
        cache: ResponseCache,
        settings: FineTuningSettings,
    ) -> None:
        self._database = database
        self._deployments = deployments
        self._files = files
        self._cache = cache
        self._settings = settings

    async def run(self) -> None:
        """Review the deployed adapters periodically, as a background task of the daemon until cancelled."""
        outage = partial(log.warning, "cannot review the deployed adapters for now: %s")
        await every(WATCH_S, self._watch_or_log, outage, at_once=False)

    async def _watch_or_log(self) -> None:
        try:
            await self.watch()
        except EngineUnavailable:
            raise
        except KairosError as error:
            log.warning("cannot change the state of a deployed adapter: %s", error)

    async def rule(self, project_id: ProjectId, adapter_id: UUID, report: GateReport) -> AdapterRow:
        """Apply the gate's decision on a candidate."""
        async with self._database.project(project_id) as session:
            row = await _get(session, adapter_id)
            await adapters.save_report(session, adapter_id, report.stored())
            if row.state != AdapterState.CANDIDATE:
                return row  # the run was resumed after the gate's decision
            if report.ruling is GateOutcome.PROMOTE:
                await self._deploy(session, row, f"the gate: {report.reason}")
            else:
                state = AdapterState.REFUSED if report.ruling is GateOutcome.REFUSE else AdapterState.NEEDS_APPROVAL
                await adapters.move(session, row, state, f"the gate: {report.reason}")
            await _audit(
                session, row, AuditAction.ADAPTER_RULED, None, {"ruling": report.ruling, "reason": report.reason}
            )
        return await self._propagate(row)

    async def promote(self, project_id: ProjectId, adapter_id: UUID, by: UserId) -> AdapterRow:
        """Promote an adapter for a person: an approved one to canary, a canary or retired one to live.

        Raises `NotFound`, `Conflict`.
        """
        async with self._database.project(project_id, by) as session:
            row = await _get(session, adapter_id)
            _require_state(row, "to promote", MAY_PROMOTE)
            if row.state == AdapterState.NEEDS_APPROVAL:
                await self._deploy(session, row, "a person approved it")
            else:
                await self._go_live(session, row, "a person promoted it")
            await _audit(session, row, AuditAction.ADAPTER_PROMOTED, by, {"state": row.state})
        return await self._propagate(row)

    async def refuse(self, project_id: ProjectId, adapter_id: UUID, by: UserId) -> AdapterRow:
        """Refuse an adapter for a person. Raises `NotFound`, `Conflict`."""
        async with self._database.project(project_id, by) as session:
            row = await _get(session, adapter_id)
            _require_state(row, "to refuse", (AdapterState.NEEDS_APPROVAL, AdapterState.CANDIDATE))
            await adapters.move(session, row, AdapterState.REFUSED, "a person refused it")
            await _audit(session, row, AuditAction.ADAPTER_REFUSED, by, {})
        return row

    async def supersede(self, project_id: ProjectId, adapter_id: UUID, by: AdapterRow) -> None:
        """Refuse an adapter that waits for approval, in favour of another of its run. Others stay as they are."""
        async with self._database.project(project_id) as session:
            row = await _get(session, adapter_id)
            if row.state == AdapterState.NEEDS_APPROVAL:
                await adapters.move(session, row, AdapterState.REFUSED, f"v{by.version} of the same run took its place")

    async def roll_back(
        self, project_id: ProjectId, base: str, by: UserId | None, why: str = "a person rolled it back"
    ) -> AdapterRow:
        """Roll back one step: retire the canary, else the live adapter, whose predecessor serves again.

        Returns the retired adapter.
        Raises `Conflict` if no adapter is deployed.
        """
        async with self._database.project(project_id, by) as session:
            canary = await adapters.of_state(session, base, AdapterState.CANARY)
            row = canary or await adapters.of_state(session, base, AdapterState.LIVE)
            if row is None:
                raise Conflict(
                    what=f"Rolling back {base}",
                    reason="no adapter of this base is deployed",
                    remedy="`kairos adapter list` shows the deployed adapters",
                )
            await self._retire(session, row, why)
            await _audit(session, row, AuditAction.ADAPTER_ROLLED_BACK, by, {"why": why})
        return await self._propagate(row)

    async def delete(self, project_id: ProjectId, adapter_id: UUID, by: UserId) -> AdapterRow:
        """Delete an adapter's files; its row stays. Raises `NotFound`, `Conflict` while deployed."""
        async with self._database.project(project_id, by) as session:
            row = await _get(session, adapter_id)
            _require_state(row, "to delete", MAY_DELETE)
            await adapters.move(session, row, AdapterState.DELETED, "a person deleted it", report=None)
            await _audit(session, row, AuditAction.ADAPTER_DELETED, by, {"bytes": row.bytes})
        await self._deployments.remove(row)
        await asyncio.to_thread(self._files.delete, StoredAdapter(row.path, row.sha256, row.bytes))
        return row

    async def watch(self) -> None:
        """Promote or roll back deployed adapters by the router's measurements since they entered their state."""
        async with self._database.system() as connection:
            projects = await adapters.projects(connection)
        for project_id in projects:
            async with self._database.project(project_id) as session:
                rows = await adapters.in_service(session)
            for row in rows:
                await self._review(project_id, row)

    async def evidence(self, session: Session, row: AdapterRow) -> Evidence:
        """Return the evidence for the task types that the adapter has served since it entered its state."""
        project_id = ProjectId(row.project_id)
        name = served_name(row.base, project_id, row.version)
        task_types = await adapters.measured_task_types(session, name, row.changed_at)
        replaced = await adapters.get(session, row.replaced) if row.replaced else None
        reference = served_name(row.base, project_id, replaced.version) if replaced else row.base
        long_ago = datetime.now(UTC) - REFERENCE_AGE
        return Evidence(
            await adapters.measured(session, name, task_types, row.changed_at),
            await adapters.measured(session, reference, task_types, long_ago),
        )

    async def _review(self, project_id: ProjectId, row: AdapterRow) -> None:
        async with self._database.project(project_id) as session:
            evidence = await self.evidence(session, row)
            if evidence.adapter.answers < self._settings.canary_answers:
                return
            # Another replica may have changed the state meanwhile, which shows under the lock.
            locked = await _get(session, row.id)
            if locked.state != row.state or locked.changed_at != row.changed_at:
                return
            if evidence.significantly_worse:
                await self._retire(session, locked, f"rolled back automatically: {evidence.summary()}")
                action = AuditAction.ADAPTER_ROLLED_BACK
            elif locked.state == AdapterState.CANARY and evidence.no_worse(self._settings.margin):
                await self._go_live(session, locked, f"not worse as a canary: {evidence.summary()}")
                action = AuditAction.ADAPTER_PROMOTED
            else:
                return
            await _audit(session, locked, action, None, {"why": evidence.summary()})
        log.info("the adapter %s v%d is %s: %s", locked.base, locked.version, locked.state, locked.changed_why)
        await self._propagate(locked)

    async def _deploy(self, session: Session, row: AdapterRow, why: str) -> None:
        if self._settings.canary_share >= 1:
            return await self._go_live(session, row, why)
        if other := await adapters.of_state(session, row.base, AdapterState.CANARY):
            await adapters.move(session, other, AdapterState.RETIRED, f"v{row.version} took its place")
        live = await adapters.of_state(session, row.base, AdapterState.LIVE)
        await adapters.move(session, row, AdapterState.CANARY, why, replaced=live.id if live else None)

    async def _go_live(self, session: Session, row: AdapterRow, why: str) -> None:
        live = await adapters.of_state(session, row.base, AdapterState.LIVE)
        if live:
            await adapters.move(session, live, AdapterState.RETIRED, f"v{row.version} took its place")
        await adapters.move(session, row, AdapterState.LIVE, why, replaced=live.id if live else None)

    async def _retire(self, session: Session, row: AdapterRow, why: str) -> None:
        was_live = row.state == AdapterState.LIVE
        await adapters.move(session, row, AdapterState.RETIRED, why)
        before = await adapters.get(session, row.replaced, locked=True) if row.replaced and was_live else None
        if before and before.state == AdapterState.RETIRED:
            # Its own predecessor would be two steps back.
            await adapters.move(session, before, AdapterState.LIVE, f"v{row.version} was rolled back")

    async def _propagate(self, row: AdapterRow) -> AdapterRow:
        """Notify all replicas, and invalidate the project's cached answers."""
        project_id = ProjectId(row.project_id)
        try:
            await self._cache.bump_epoch(project_id)
        except EngineUnavailable as error:
            log.warning("cached answers stay valid until they expire: %s", error)
        await self._deployments.notify()
        return row


async def _get(session: Session, adapter_id: UUID) -> AdapterRow:
    row = await adapters.get(session, adapter_id, locked=True)
    if row is None:
        raise NotFound(what="adapter", id=adapter_id)
    return row


def _require_state(row: AdapterRow, action: str, allowed: tuple[AdapterState, ...]) -> None:
    if row.state not in allowed:
        raise Conflict(
            what=f"The adapter {row.base} v{row.version}, {action},",
            reason=f"it is {row.state}",
            remedy=f"Possible where it is: {', '.join(allowed)}",
        )


async def _audit(
    session: Session, row: AdapterRow, action: AuditAction, by: UserId | None, data: Mapping[str, Any]
) -> None:
    target = f"{row.base} v{row.version}"
    await people.audit(session, action, user_id=by, project_id=row.project_id, target=target, data=data)
