"""Endpoints for training runs of the active project: start, list, cancel. `training_plan` has the plan."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from kairos.api.access.auth import Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.training_plan import PlanBody
from kairos.db.models import RunState
from kairos.db.repositories.excerpts import EXCERPT
from kairos.db.repositories.training import RunStatus
from kairos.fine_tuning.gate.evaluation import GateOutcome
from kairos.fine_tuning.training.process.job import TrainingPhase
from kairos.fine_tuning.tries.recipes import Shortfall
from kairos.fine_tuning.tries.selection import RatedCandidate
from kairos.fine_tuning.tries.tries import Try
from kairos.orchestration.tasks.trainings import Overrides, Trainings, state_of

routes = APIRouter(prefix="/api/training", tags=["learning"], route_class=JsonRoute)

TrainingsDep = Annotated[Trainings, depends_on(Trainings)]

ReaderDep = Annotated[Member, Depends(needs(Permission.TRAINING_READ))]
WriterDep = Annotated[Member, Depends(needs(Permission.TRAINING_WRITE))]


class BaseOut(BaseModel):
    name: str
    trainable: bool
    reason: str | None = Field(description="Why it cannot be trained.")


class BaseList(BaseModel):
    items: list[BaseOut]


class RunBody(PlanBody):
    epochs: float | None = Field(None, gt=0, le=100)
    learning_rate: float | None = Field(None, gt=0, le=1)
    rank: int | None = Field(None, ge=1, le=256)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)


class CurvePoint(BaseModel):
    step: int
    loss: float | None
    validation_loss: float | None


class ProgressOut(BaseModel):
    phase: TrainingPhase | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_s: float | None = None
    left_s: float | None = None
    resumed: bool | None = None
    curve: list[CurvePoint] = []


class TrainedCandidateOut(BaseModel):
    step: int
    strength: float = Field(description="Factor of its effect.")
    learned: float | None = Field(description="Mean quality on the selection samples; null if there were none.")
    kept: float | None = Field(
        description="Mean difference to the base on the selection's control prompts; null if they were not asked."
    )


class TryOut(BaseModel):
    number: int
    epochs: float
    learning_rate: float
    rank: int
    replay_share: float
    seconds: float
    chosen: TrainedCandidateOut
    candidates: list[TrainedCandidateOut]
    shortfall: Shortfall | None = Field(description="Why it was not good enough; null if it was.")
    ruling: GateOutcome | None = Field(description="Null if the gate was not asked.")
    reason: str = Field(description="The reason of the gate.")


class RunOut(BaseModel):
    id: UUID
    base: str
    state: RunState
    task_id: UUID | None
    rows: int
    progress: ProgressOut
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    adapter_id: UUID | None = Field(
        description="The adapter that the run produced; of several, the last that was not refused."
    )
    tries: list[TryOut] = Field(description="Trainings of this run that ended, each with another recipe.")


class RunList(BaseModel):
    items: list[RunOut] = Field(
        description=f"The first {EXCERPT} characters of errors, without curves; the run's own endpoint returns all."
    )


@routes.get("/bases", responses=responses(401, 403, 409, 503))
async def list_bases(trainings: TrainingsDep, member: ReaderDep) -> BaseList:
    """The models of the catalogue, and whether an adapter can be trained for each."""
    del member
    found = trainings.bases()
    return BaseList(items=[BaseOut(name=b.name, trainable=b.reason is None, reason=b.reason) for b in found])


@routes.post("", status_code=201, responses=responses(401, 403, 404, 409, 413, 422, 503))
async def start(trainings: TrainingsDep, member: WriterDep, body: RunBody) -> RunOut:
    """Start a run: train an adapter on the approved samples, evaluate it in the gate, and deploy a better one."""
    overrides = Overrides(body.epochs, body.learning_rate, body.rank, body.seed)
    return _run(await trainings.start(member.project_id, member.user_id, body.base, overrides))


@routes.get("", responses=responses(401, 403, 409, 422, 503))
async def list_runs(
    trainings: TrainingsDep, member: ReaderDep, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> RunList:
    """The runs, newest first."""
    runs = [_run(status) for status in await trainings.page(member.project_id, limit)]
    return RunList(items=[_excerpt(run) for run in runs])


@routes.get("/{run_id}", responses=responses(401, 403, 404, 409, 422, 503))
async def show_run(trainings: TrainingsDep, member: ReaderDep, run_id: UUID) -> RunOut:
    """One run, with its progress and loss curve."""
    return _run(await trainings.get(member.project_id, run_id))


@routes.post("/{run_id}/cancel", responses=responses(401, 403, 404, 409, 422, 503))
async def cancel_run(trainings: TrainingsDep, member: WriterDep, run_id: UUID) -> RunOut:
    """Cancel a run. It produces no adapter."""
    return _run(await trainings.cancel(member.project_id, run_id))


def _excerpt(run: RunOut) -> RunOut:
    progress = run.progress.model_copy(update={"curve": []})
    return run.model_copy(update={"progress": progress, "error": run.error and run.error[:EXCERPT]})


def _try(one: Try) -> TryOut:
    training = one.recipe.training
    return TryOut(
        number=one.number,
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        rank=training.rank,
        replay_share=one.recipe.replay_share,
        seconds=one.seconds,
        chosen=_candidate(one.selection.chosen),
        candidates=[_candidate(candidate) for candidate in one.selection.rated],
        shortfall=one.shortfall,
        ruling=one.ruling,
        reason=one.reason,
    )


def _candidate(one: RatedCandidate) -> TrainedCandidateOut:
    return TrainedCandidateOut(step=one.step, strength=one.strength, learned=one.learned, kept=one.kept)


def _run(status: RunStatus) -> RunOut:
    run = status.run
    return RunOut(
        id=run.id,
        base=run.base,
        state=state_of(status),
        task_id=run.task_id,
        rows=run.rows,
        progress=ProgressOut.model_validate(run.progress),
        error=run.error or (status.task_error or {}).get("message"),
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        adapter_id=status.adapter_id,
        tries=[_try(Try.of(one)) for one in run.settings.get("tries", [])],
    )
