"""Labels on answers: a label overrides every check, is recorded by the router, and adds to the dataset."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

from kairos.db.engine import Database, Session
from kairos.db.models import EventKind, LabelRow, SampleRow, SampleSource, TaskRow, TaskState, VerdictRow
from kairos.db.repositories.dataset import dataset
from kairos.db.repositories.tasks import history, labels, tasks
from kairos.errors import Conflict, EngineUnavailable, InvalidInput, NotFound
from kairos.fine_tuning.dataset.dataset import secrets_of
from kairos.lanes import Lane
from kairos.llm.routing.llm_router import LLMRouter
from kairos.orchestration.dataset.samples import record
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.tenancy import ProjectId, TaskId, UserId, new_id

log = logging.getLogger(__name__)


class Label(StrEnum):
    """A person's judgement of an answer."""

    ACCEPT = "accept"
    EDIT = "edit"
    REJECT = "reject"


QUALITY = {Label.ACCEPT: 1.0, Label.EDIT: 0.5, Label.REJECT: 0.0}
"""The quality that the router records. An edited answer was useful but not correct."""
PERSON = "person"


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A submitted label. `output` is the corrected answer."""

    label: Label
    output: str | None = None
    reason: str | None = None


class Labels:
    """Stores labels. A task has one label: the newest."""

    def __init__(self, database: Database, router: LLMRouter, notices: EventNotices) -> None:
        self._database = database
        self._router = router
        self._notices = notices

    async def save(self, project_id: ProjectId, user_id: UserId, task_id: TaskId, new: NewLabel) -> None:
        """Store the label and its dataset row, then update the router and the cache.

        Raises `NotFound`, `Conflict` if the task has no final answer, `InvalidInput` if an edit changes nothing.
        """
        async with self._database.project(project_id, user_id) as session:
            row = await tasks.get(session, task_id)
            if row is None:
                raise NotFound(what="task", id=task_id)
            _check(row, new)
            verdict = await labels.last_verdict(session, task_id)
            sample_id = await _sample(session, row, verdict, new)
            await labels.put(
                session,
                LabelRow(
                    project_id=project_id,
                    task_id=task_id,
                    label=new.label,
                    output=new.output,
                    reason=new.reason,
                    user_id=user_id,
                    sample_id=sample_id,
                ),
            )
            data = {"label": new.label, "by": str(user_id)}
            await history.add_event(session, project_id, task_id, row.attempts, EventKind.LABELLED, data)
        self._notices.notify(project_id)
        await self._record_quality(project_id, row, new.label)

    async def _record_quality(self, project_id: ProjectId, row: TaskRow, label: Label) -> None:
        if row.decision_id is None or row.output is None:
            return
        await self._router.record_quality(project_id, row.decision_id, QUALITY[label], PERSON)
        if label is not Label.ACCEPT:
            try:
                await self._router.retract(project_id, row.decision_id)
            except EngineUnavailable as error:
                log.warning("an answer that a person rejected stays in the cache until it expires: %s", error)


def _check(row: TaskRow, new: NewLabel) -> None:
    if row.lane == Lane.TRAIN:
        reason = "it is a training run and has no model's answer"
        remedy = "See the adapter it made with `kairos adapter list`"
        raise Conflict(what=f"Labelling task {row.id}", reason=reason, remedy=remedy)
    if not TaskState(row.state).final:
        raise Conflict(what=f"Labelling task {row.id}", reason=f"it is {row.state}", remedy="Wait until it has ended")
    if row.output is None and new.label is not Label.EDIT:
        raise Conflict(
            what=f"Labelling task {row.id} with {new.label.value!r}",
            reason="it has no answer",
            remedy="Edit it: write the correct answer",
        )
    if new.label is Label.EDIT and (not new.output or new.output == row.output):
        raise InvalidInput(where="output", problem="the edit changes nothing", remedy="Change the answer, or accept it")


async def _sample(session: Session, row: TaskRow, verdict: VerdictRow | None, new: NewLabel):
    """The id of the dataset row that the label changes or adds; None if an accepted answer has none."""
    known = await labels.sample_of(session, row.id, row.output)
    state = {Label.ACCEPT: "rejected", Label.EDIT: "corrected", Label.REJECT: "open"}[new.label]
    reason = (
        f"By a person: {new.reason}"
        if new.reason
        else {Label.EDIT: "Edited", Label.REJECT: "Rejected"}.get(new.label, "Accepted") + " by a person"
    )
    if known is not None:
        await _change(session, known, state, new.output, reason)
        return known.id
    if new.label is Label.ACCEPT:
        return None
    sample_id = await record(
        session,
        SampleRow(
            project_id=row.project_id,
            id=new_id(),
            task_id=row.id,
            attempt=row.attempts,
            task_type=row.task_type,
            prompt=verdict.messages if verdict and verdict.messages else [{"role": "user", "content": row.prompt}],
            faulty_output=row.output,
            reason=reason,
            model=row.model,
            corrected_output=new.output,
            state=state,
        ),
        SampleSource.PERSON,
    )
    if (row_known := await dataset.get(session, sample_id, locked=True)) and row_known.task_id != row.id:
        await _change(session, row_known, state, new.output, reason)
    return sample_id


async def _change(session: Session, row: SampleRow, state: str, corrected: str | None, reason: str) -> None:
    secrets = secrets_of(row.prompt, row.faulty_output, corrected)
    await labels.change_sample(session, row, state=state, corrected=corrected, reason=reason, secrets=secrets)
