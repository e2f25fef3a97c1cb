"""How an adapter comes into service and leaves it: by the gate's ruling, by a person, by what the router measures.

candidate ─┬─► canary ──► live ──► retired ──► live …
           ├─► needs_approval ──► canary, or refused
           └─► refused

A canary is a candidate for a share of the requests, beside the adapter that is live. It goes live once it was measured
often enough and is no worse, and is rolled back, as is a live one, once it is surely worse than what it replaced.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from kairos.config import FineTuningSettings
from kairos.db.engine import Database, Session
from kairos.db.models import AdapterRow, AdapterState
from kairos.db.repositories import adapters, people
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
SURELY = 1.645
"""One-sided 95 % of the normal distribution."""
LARGEST_VARIANCE = 0.25
"""Of a quality in [0, 1] (Popoviciu's inequality): what is not known of a few answers is taken at its worst."""
REFERENCE_AGE = timedelta(days=90)
"""What was measured of the base before that says nothing of today's tasks."""

MAY_PROMOTE = (AdapterState.NEEDS_APPROVAL, AdapterState.CANARY, AdapterState.RETIRED)
MAY_DELETE = (
    AdapterState.CANDIDATE,
    AdapterState.NEEDS_APPROVAL,
    AdapterState.REFUSED,
    AdapterState.RETIRED,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the router measured of an adapter in service, and of what it replaced, at the same kinds of task."""

    adapter: MeasuredQuality
    reference: MeasuredQuality

    @property
    def surely_worse(self) -> bool:
        """One-sided 95 %, by the normal approximation for the difference of two means."""
        a, b = self.adapter, self.reference
        if not a.answers or not b.answers:
            return False
        error = math.sqrt(LARGEST_VARIANCE / a.answers + LARGEST_VARIANCE / b.answers)
        return b.quality - a.quality > SURELY * error

    def no_worse(self, margin: float) -> bool:
        return not self.reference.answers or self.adapter.quality >= self.reference.quality - margin

    def summary(self) -> str:
        a, b = self.adapter, self.reference
        return f"quality {a.quality:.2f} over {a.answers} answers, what it replaced {b.quality:.2f} over {b.answers}"


class Promotions:
    """Every change of an adapter's state after it was trained. Each is audited and felt by every replica."""

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
        """Watch what is in service. Owned by the daemon; ends with its cancellation."""
        while True:
            await asyncio.sleep(WATCH_S * random.uniform(0.8, 1.2))
            try:
                await self.watch()
            except EngineUnavailable as error:
                log.warning("adapters in service are not watched for now: %s", error)
            except KairosError as error:
                log.warning("an adapter in service could not be moved: %s", error)

    async def rule(self, project_id: ProjectId, adapter_id: UUID, report: GateReport) -> AdapterRow:
        """What the gate said of a candidate, done."""
        async with self._database.project(project_id) as session:
            row = await _get(session, adapter_id)
            await adapters.save_report(session, adapter_id, report.stored())
            if row.state != AdapterState.CANDIDATE:
                return row  # a run that was resumed after its gate had ruled
            if report.ruling is GateOutcome.PROMOTE:
                await self._enter(session, row, f"the gate: {report.reason}")
            else:
                state = AdapterState.REFUSED if report.ruling is GateOutcome.REFUSE else AdapterState.NEEDS_APPROVAL
                await adapters.move(session, row, state, f"the gate: {report.reason}")
            await _audit(session, row, "adapter.ruled", None, {"ruling": report.ruling, "reason": report.reason})
        return await self._propagate(row)

    async def promote(self, project_id: ProjectId, adapter_id: UUID, by: UserId) -> AdapterRow:
        """A person lets it in: as a canary first, a canary or a former one at once. Raises `NotFound`, `Conflict`."""
        async with self._database.project(project_id, by) as session:
            row = await _get(session, adapter_id)
            _check(row, "to promote", MAY_PROMOTE)
            if row.state == AdapterState.NEEDS_APPROVAL:
                await self._enter(session, row, "a person approved it")
            else:
                await self._go_live(session, row, "a person promoted it")
            await _audit(session, row, "adapter.promoted", by, {"state": row.state})
        return await self._propagate(row)

    async def refuse(self, project_id: ProjectId, adapter_id: UUID, by: UserId) -> AdapterRow:
        """A person looked at the pairs and does not want it. Raises `NotFound`, `Conflict`."""
        async with self._database.project(project_id, by) as session:
            row = await _get(session, adapter_id)
            _check(row, "to refuse", (AdapterState.NEEDS_APPROVAL, AdapterState.CANDIDATE))
            await adapters.move(session, row, AdapterState.REFUSED, "a person refused it")
            await _audit(session, row, "adapter.refused", by, {})
        return row

    async def roll_back(
        self, project_id: ProjectId, base: str, by: UserId | None, why: str = "a person rolled it back"
    ) -> AdapterRow:
        """One step: the canary leaves, else the live one, and what it replaced serves again. Gives the one that left.

        Raises `Conflict` where nothing is in service.
        """
        async with self._database.project(project_id, by) as session:
            canary = await adapters.of_state(session, base, AdapterState.CANARY)
            row = canary or await adapters.of_state(session, base, AdapterState.LIVE)
            if row is None:
                raise Conflict(
                    what=f"Rolling back {base}",
                    reason="no adapter of it is in service",
                    remedy="`kairos adapter list` shows what is",
                )
            await self._leave(session, row, why)
            await _audit(session, row, "adapter.rolled_back", by, {"why": why})
        return await self._propagate(row)

    async def delete(self, project_id: ProjectId, adapter_id: UUID, by: UserId) -> AdapterRow:
        """Its files; that it was, and what it saw, stays known. Raises `NotFound`, `Conflict` while in service."""
        async with self._database.project(project_id, by) as session:
            row = await _get(session, adapter_id)
            _check(row, "to delete", MAY_DELETE)
            await adapters.move(session, row, AdapterState.DELETED, "a person deleted it", report=None)
            await _audit(session, row, "adapter.deleted", by, {"bytes": row.bytes})
        await self._deployments.remove(row)
        await asyncio.to_thread(self._files.delete, StoredAdapter(row.path, row.sha256, row.bytes))
        return row

    async def watch(self) -> None:
        """Move those in service on what the router measured since they took their state."""
        async with self._database.system() as connection:
            projects = await adapters.projects(connection)
        for project_id in projects:
            async with self._database.project(project_id) as session:
                rows = await adapters.in_service(session)
            for row in rows:
                await self._judge(project_id, row)

    async def evidence(self, session: Session, row: AdapterRow) -> Evidence:
        """At the task types that the adapter was measured at since it took its state."""
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

    async def _judge(self, project_id: ProjectId, row: AdapterRow) -> None:
        async with self._database.project(project_id) as session:
            evidence = await self.evidence(session, row)
            if evidence.adapter.answers < self._settings.canary_answers:
                return
            # Another replica may have moved it meanwhile: then its state is another one under the lock.
            locked = await _get(session, row.id)
            if locked.state != row.state or locked.changed_at != row.changed_at:
                return
            if evidence.surely_worse:
                await self._leave(session, locked, f"rolled back by itself: {evidence.summary()}")
                action = "adapter.rolled_back"
            elif locked.state == AdapterState.CANARY and evidence.no_worse(self._settings.margin):
                await self._go_live(session, locked, f"no worse as a canary: {evidence.summary()}")
                action = "adapter.promoted"
            else:
                return
            await _audit(session, locked, action, None, {"why": evidence.summary()})
        log.info("the adapter %s v%d is %s: %s", locked.base, locked.version, locked.state, locked.changed_why)
        await self._propagate(locked)

    async def _enter(self, session: Session, row: AdapterRow, why: str) -> None:
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

    async def _leave(self, session: Session, row: AdapterRow, why: str) -> None:
        was_live = row.state == AdapterState.LIVE
        await adapters.move(session, row, AdapterState.RETIRED, why)
        before = await adapters.get(session, row.replaced, locked=True) if row.replaced and was_live else None
        if before and before.state == AdapterState.RETIRED:
            # Whatever it had replaced itself is one step further back than anybody asked for.
            await adapters.move(session, before, AdapterState.LIVE, f"v{row.version} was rolled back")

    async def _propagate(self, row: AdapterRow) -> AdapterRow:
        """By every replica, and by the cache."""
        project_id = ProjectId(row.project_id)
        try:
            await self._cache.bump_epoch(project_id)
        except EngineUnavailable as error:
            log.warning("answers of the cache stay as they were until they run out: %s", error)
        await self._deployments.notify()
        return row


async def _get(session: Session, adapter_id: UUID) -> AdapterRow:
    row = await adapters.get(session, adapter_id, locked=True)
    if row is None:
        raise NotFound(what="adapter", id=adapter_id)
    return row


def _check(row: AdapterRow, what: str, allowed: tuple[AdapterState, ...]) -> None:
    if row.state not in allowed:
        raise Conflict(
            what=f"The adapter {row.base} v{row.version}, {what},",
            reason=f"it is {row.state}",
            remedy=f"Possible where it is: {', '.join(allowed)}",
        )


async def _audit(session: Session, row: AdapterRow, action: str, by: UserId | None, data: Mapping[str, Any]) -> None:
    target = f"{row.base} v{row.version}"
    await people.audit(session, action, user_id=by, project_id=row.project_id, target=target, data=data)
