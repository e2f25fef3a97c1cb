"""Endpoints that plan a training run of the active project: resources, samples, and answers of the base model."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from kairos.api.access.auth import Body, Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.fine_tuning.dataset.advice import Advice, AdviceAction
from kairos.fine_tuning.dataset.kinds import Kind
from kairos.fine_tuning.dataset.review import DatasetReview
from kairos.orchestration.tasks.training_advice import AdvisedBaseCheck, AdvisedPlan, TrainingAdvice
from kairos.project_settings import ProjectSettings
from kairos.text import Text

routes = APIRouter(prefix="/api/training", tags=["learning"], route_class=JsonRoute)

SHOWN_KINDS = 20

AdviceDep = Annotated[TrainingAdvice, depends_on(TrainingAdvice)]
ReaderDep = Annotated[Member, Depends(needs(Permission.TRAINING_READ))]
WriterDep = Annotated[Member, Depends(needs(Permission.TRAINING_WRITE))]


class Amount(BaseModel):
    """An amount in bytes."""

    needed: int = Field(description="A conservative estimate.")
    free: int


class SampleKindOut(BaseModel):
    """Samples that teach the same thing, as far as their prompts show."""

    task_type: str | None
    prompt: str | None = Field(
        description="The beginning of the most central prompt; null if the prompts of this kind have nothing in common"
        " or were not compared."
    )
    rows: int
    training: int = Field(description="Those of them that are not held out.")


class ConflictOut(BaseModel):
    """Two samples with the same prompt and different answers, each text cut to its beginning."""

    prompt: str
    first: UUID
    second: UUID
    first_answer: str
    second_answer: str


class SuccessOut(BaseModel):
    """Trainings with this number of samples in the suite of rules."""

    rows: int
    runs: int
    promoted: int = Field(description="Runs that ended in a promotion.")
    base: str
    title: str = Field(description="Name of the base model for people.")
    recipe: str = Field(description="Commit of the training code.")
    measured: date


class AdviceOut(BaseModel):
    """Something to do before the training, and the figures that it follows from."""

    action: AdviceAction
    count: int = Field(description="Samples or prompts to work on.")
    have: int
    need: int
    kind: SampleKindOut | None


class ReviewOut(BaseModel):
    """Figures of the approved and held-out samples."""

    reviewed: int = Field(description="The newest samples, if there are very many.")
    distinct: int = Field(description="Reviewed samples without repetitions of prompt and answer.")
    repeated: int
    contradictions: int = Field(description="Prompts with different answers.")
    conflicts: list[ConflictOut] = Field(description="At most 10 pairs.")
    too_long: int = Field(description="Samples that have more than `max_tokens`, by a conservative estimate.")
    max_tokens: int
    empty_answers: int
    kinds: list[SampleKindOut] = Field(description=f"The {SHOWN_KINDS} largest.")
    kinds_total: int
    prompts: int = Field(description="Different prompts.")
    grouped_prompts: int = Field(description="Prompts that were compared to find kinds; a sample of very many.")
    kinds_problem: str | None = Field(description="Why prompts were not compared; kinds are then the task types.")


class PlanOut(BaseModel):
    base: str
    rows: int = Field(description="Approved samples, without those that contain possible secrets.")
    training: int
    selection: int = Field(description="Rows that choose among the candidates of the training.")
    held_out: int = Field(description="Rows held out of training, to evaluate the adapter.")
    replayed: int = Field(description="Control prompts answered by the base model, among the examples.")
    memory_bytes: Amount
    disk_bytes: Amount
    device: str
    problems: list[str] = Field(description="Reasons why the run cannot start; empty if it can.")
    review: ReviewOut
    success: SuccessOut | None = Field(
        description="The nearest measurement of the suite with at most as many different training samples."
    )
    fewest_measured: int | None = Field(description="The fewest samples that the suite measured; null if none.")
    advice: list[AdviceOut] = Field(description="What to do before the run, the most important first.")


class PlanBody(Body):
    base: Text | None = Field(None, max_length=200, description="By default the first model that can be trained.")


class CheckedSampleOut(BaseModel):
    id: UUID
    prompt: str
    right: bool


class BaseCheckOut(BaseModel):
    """The base model's answers to samples of every kind, graded as in the evaluation gate."""

    base: str
    asked: int = Field(description="Samples that the model answered in time.")
    right: int
    chosen: int = Field(description="Samples that were to be asked.")
    failed: int = Field(description="Samples whose call failed.")
    seconds: float
    samples: list[CheckedSampleOut]
    advice: list[AdviceOut]


@routes.post("/plan", responses=responses(401, 403, 409, 413, 422, 503))
async def plan(advice: AdviceDep, member: ReaderDep, body: PlanBody) -> PlanOut:
    """The data and resources that a run would use now, and a review of the samples, without starting it."""
    return _plan(await advice.plan(member.project_id, body.base))


@routes.post("/base-check", responses=responses(401, 403, 409, 413, 422, 502, 503))
async def check_base(advice: AdviceDep, member: WriterDep, body: PlanBody) -> BaseCheckOut:
    """Ask the base model at most 24 approved samples, for at most 25 seconds."""
    settings = ProjectSettings.of(member.project_settings)
    return _base_check(await advice.check_base(member.project_id, settings, body.base))


def _plan(advised: AdvisedPlan) -> PlanOut:
    plan = advised.plan
    return PlanOut(
        base=plan.base,
        rows=plan.rows,
        training=plan.training,
        selection=plan.selection,
        held_out=plan.held_out,
        replayed=plan.replayed,
        memory_bytes=Amount(needed=plan.memory_needed, free=plan.memory_free),
        disk_bytes=Amount(needed=plan.disk_needed, free=plan.disk_free),
        device=plan.device,
        problems=list(plan.problems),
        review=_review(advised.review),
        success=SuccessOut(**advised.success.model_dump()) if advised.success else None,
        fewest_measured=advised.fewest_measured,
        advice=[_advice(one) for one in advised.advice],
    )


def _review(review: DatasetReview) -> ReviewOut:
    return ReviewOut(
        reviewed=review.reviewed,
        distinct=review.distinct,
        repeated=review.repeated,
        contradictions=review.contradictions,
        conflicts=[ConflictOut(**asdict(conflict)) for conflict in review.conflicts],
        too_long=review.too_long,
        max_tokens=review.max_tokens,
        empty_answers=review.empty_answers,
        kinds=[_kind(kind) for kind in review.kinds[:SHOWN_KINDS]],
        kinds_total=len(review.kinds),
        prompts=review.grouping.prompts,
        grouped_prompts=review.grouping.grouped,
        kinds_problem=review.grouping.problem,
    )


def _kind(kind: Kind) -> SampleKindOut:
    return SampleKindOut(task_type=kind.task_type, prompt=kind.prompt, rows=kind.rows, training=kind.training)


def _advice(advice: Advice) -> AdviceOut:
    return AdviceOut(
        action=advice.action,
        count=advice.count,
        have=advice.have,
        need=advice.need,
        kind=_kind(advice.kind) if advice.kind else None,
    )


def _base_check(check: AdvisedBaseCheck) -> BaseCheckOut:
    result = check.result
    return BaseCheckOut(
        base=check.base,
        asked=len(result.asked),
        right=result.right,
        chosen=result.chosen,
        failed=result.failed,
        seconds=round(result.seconds, 1),
        samples=[CheckedSampleOut(id=one.id, prompt=one.prompt, right=one.right) for one in result.asked],
        advice=[_advice(one) for one in check.advice],
    )
