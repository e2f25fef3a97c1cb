"""Plans a training run with a review of its samples, and asks its base model, before anything is started."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kairos.agents.base_check import BASE_CHECK_S, BaseCheck, BaseCheckResult
from kairos.agents.training_records import approved_rows
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.errors import Conflict
from kairos.fine_tuning.dataset.advice import Advice, RowNeeds, advice_for, advice_on_base
from kairos.fine_tuning.dataset.kinds import spread
from kairos.fine_tuning.dataset.review import DatasetReview, DatasetReviewer
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.fine_tuning.dataset.success_rates import SuccessRate, nearest_rate, smallest_size, success_rates
from kairos.fine_tuning.gate.evaluation import FEWEST_PAIRS
from kairos.fine_tuning.training.trainer import CannotTrain, Trainer, TrainingPlan, TrainingSettings
from kairos.llm.calls.prompt_size import vocabulary_of
from kairos.llm.catalog.catalog import Model
from kairos.orchestration.tasks.trainings import Trainings, unavailable_reason
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId


@dataclass(frozen=True, slots=True)
class AdvisedPlan:
    """The plan of a run, a review of its samples, and what to do before it."""

    plan: TrainingPlan
    review: DatasetReview
    success: SuccessRate | None
    """The nearest measurement with at most as many different training samples."""
    fewest_measured: int | None
    """The smallest size that was measured; None if none was."""
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True)
class AdvisedBaseCheck:
    """The base model's answers, and what to do about them."""

    base: str
    result: BaseCheckResult
    advice: tuple[Advice, ...]


class TrainingAdvice:
    """Reviews the samples of a project for a run of a base model."""

    def __init__(
        self,
        database: Database,
        trainings: Trainings,
        trainer: Trainer,
        reviewer: DatasetReviewer,
        base_check: BaseCheck,
        settings: Settings,
    ) -> None:
        self._database = database
        self._trainings = trainings
        self._trainer = trainer
        self._reviewer = reviewer
        self._base_check = base_check
        self._settings = settings.fine_tuning
        self._checking: set[ProjectId] = set()

    async def plan(self, project_id: ProjectId, name: str | None) -> AdvisedPlan:
        """The rows and resources of a run started now, and a review of the rows. Raises `UnknownModel`, `CannotTrain`
        if there is nothing to train."""
        base = self._trainings.base(name)
        rows = await approved_rows(self._database, project_id)
        plan = await self._trainer.plan(base, rows)
        reviewed = await self._review(base, rows)
        needs = RowNeeds(self._settings.fewest_rows, FEWEST_PAIRS, self._settings.held_out_share)
        rates = success_rates()
        return AdvisedPlan(
            plan,
            reviewed,
            nearest_rate(rates, reviewed.distinct_training, base.name),
            smallest_size(rates),
            advice_for(reviewed, plan.training, plan.held_out, needs),
        )

    async def check_base(self, project_id: ProjectId, settings: ProjectSettings, name: str | None) -> AdvisedBaseCheck:
        """Ask the base model some approved samples of every kind. Raises `UnknownModel`, `CannotTrain`,
        `ModelCallError`, and `Conflict` while another check of the project is running."""
        base = self._trainings.base(name)
        _require_askable(base, settings)
        if project_id in self._checking:
            raise Conflict(what=f"Checking {base.name}", reason="a check is running", remedy="Try again when it ends")
        self._checking.add(project_id)
        start = time.monotonic()
        try:
            rows = {row.id: row for row in await approved_rows(self._database, project_id)}
            kinds = (await self._review(base, list(rows.values()))).kinds
            chosen = [rows[one] for one in spread(kinds, len(rows)) if rows[one].answer.strip()]
            left_s = BASE_CHECK_S - (time.monotonic() - start)
            result = await self._base_check.run(project_id, settings, base, chosen, left_s)
        finally:
            self._checking.discard(project_id)
        return AdvisedBaseCheck(base.name, result, advice_on_base(result.right, len(result.asked)))

    async def _review(self, base: Model, rows: list[ApprovedSample]) -> DatasetReview:
        share, longest = self._settings.held_out_share, TrainingSettings().max_tokens
        return await self._reviewer.review(rows, share, longest, vocabulary_of(base))


def _require_askable(base: Model, settings: ProjectSettings) -> None:
    """Raise `CannotTrain` for a model that no run would call, such as one that costs money."""
    remote = "the project allows local models only" if settings.local_only and not base.local else None
    if reason := unavailable_reason(base) or remote:
        raise CannotTrain(base=base.name, reasons=reason)
