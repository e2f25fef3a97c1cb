"""Starts, stops and lists training runs. Each run has a row of its own and a task in the `train` lane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from kairos.agents.training import TrainingAgent
from kairos.agents.training_records import approved_rows
from kairos.background_tasks import every
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import AuditAction, RunState, TaskState, TrainingRunRow
from kairos.db.repositories import training
from kairos.db.repositories.access import people
from kairos.errors import Conflict, EngineUnavailable, KairosError, NotFound
from kairos.fine_tuning.training.trainer import CannotTrain, Trainer, TrainingSettings
from kairos.lanes import Lane
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.llm_router import LLMRouter
from kairos.orchestration.queue.claim import NewTask
from kairos.orchestration.tasks.submission import Submissions
from kairos.tenancy import ProjectId, UserId, new_id

log = logging.getLogger(__name__)

ATTEMPTS = 10
"""Attempts of one run: after a daemon dies, the run resumes from its last checkpoint."""
TRIGGER_S = 30.0
SUBMITTED_WITHIN = timedelta(minutes=1)
ACTIVE = (RunState.WAITING, RunState.TRAINING, RunState.EVALUATING)


@dataclass(frozen=True, slots=True)
class TrainingBase:
    """A catalogue model, and the reason why adapters cannot be trained for it (None if they can)."""

    name: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Overrides:
    """Training settings that a caller may set; None keeps the default."""

    epochs: float | None = None
    learning_rate: float | None = None
    rank: int | None = None
    seed: int | None = None


class Trainings:
    """Starts, stops and lists training runs."""

    def __init__(
        self,
        database: Database,
        router: LLMRouter,
        trainer: Trainer,
        submissions: Submissions,
        settings: Settings,
    ) -> None:
        self._database = database
        self._router = router
        self._trainer = trainer
        self._submissions = submissions
        self._settings = settings.fine_tuning

    def bases(self) -> list[TrainingBase]:
        """The models of the catalogue, trainable ones first."""
        bases = [TrainingBase(model.name, unavailable_reason(model)) for model in self._router.catalog]
        return sorted(bases, key=lambda base: base.reason is not None)

    def base(self, name: str | None) -> Model:
        """The model of that name, by default the first that can be trained. Raises `UnknownModel`, `CannotTrain`."""
        if name is not None:
            return self._router.require(name)
        fit = [model for model in self._router.catalog if unavailable_reason(model) is None]
        if not fit:
            raise CannotTrain(base="(any)", reasons="no model of the catalogue has both `weights` and `adapters`")
        return fit[0]

    async def start(
        self, project_id: ProjectId, user_id: UserId | None, name: str | None, overrides: Overrides = Overrides()
    ) -> training.RunStatus:
        """Queue a run. Raises `UnknownModel`, `CannotTrain`, `Conflict` while another run of the same base is
        active."""
        base = self.base(name)
        plan = await self._trainer.plan(base, await approved_rows(self._database, project_id))
        if plan.problems:
            raise CannotTrain(base=base.name, reasons="; ".join(plan.problems))
        settings = self._training_settings(overrides)
        async with self._database.project(project_id, user_id) as session:
            await training.lock(session, base.name)
            await self._reject_second(await training.page(session, 20), base.name)
            run = TrainingRunRow(
                project_id=project_id,
                id=new_id(),
                task_id=new_id(),
                base=base.name,
                settings={"training": asdict(settings)},
                rows=plan.training,
                created_by=user_id,
            )
            session.add(run)
            await people.audit(
                session, AuditAction.TRAINING_STARTED, user_id=user_id, project_id=project_id, target=base.name,
                data={"run": str(run.id), "rows": plan.training},
            )  # fmt: skip
        await self._submissions.submit(project_id, user_id, self._task(run), run.task_id)
        return await self.get(project_id, run.id)

    async def get(self, project_id: ProjectId, run_id: UUID) -> training.RunStatus:
        """Raises `NotFound`."""
        async with self._database.project(project_id) as session:
            status = await training.get(session, run_id)
        if status is None:
            raise NotFound(what="training run", id=run_id)
        return status

    async def page(self, project_id: ProjectId, limit: int) -> list[training.RunStatus]:
        async with self._database.project(project_id) as session:
            return await training.page(session, limit)

    async def cancel(self, project_id: ProjectId, run_id: UUID) -> training.RunStatus:
        """Cancel a run; its last checkpoint is not reused. Raises `NotFound`, `Conflict` if the run has ended."""
        status = await self.get(project_id, run_id)
        assert status.run.task_id is not None
        await self._submissions.cancel(project_id, status.run.task_id)
        return await self.get(project_id, run_id)

    async def run(self) -> None:
        """Start runs by the configured triggers until cancelled."""
        rows, hours = self._settings.trigger_rows or None, self._settings.trigger_hours
        if rows is None and not hours:
            await asyncio.Event().wait()
        age = timedelta(hours=hours) if hours else None
        trigger = partial(self._trigger_due, rows, age)
        await every(TRIGGER_S, trigger, partial(log.warning, "training triggers are not checked: %s"))

    async def _trigger_due(self, rows: int | None, age: timedelta | None) -> None:
        async with self._database.system() as connection:
            for project_id in await training.due(connection, rows, age):
                await self._trigger(project_id)

    async def _trigger(self, project_id: ProjectId) -> None:
        try:
            status = await self.start(project_id, None, self._settings.trigger_base or None)
            log.info("project %s: training of %s was triggered", project_id, status.run.base)
        except EngineUnavailable:
            raise
        except KairosError as error:
            log.warning("project %s: training could not be triggered: %s", project_id, error)

    def _training_settings(self, overrides: Overrides) -> TrainingSettings:
        settings = TrainingSettings(epochs=self._settings.epochs, threads=self._settings.threads)
        given = {name: value for name, value in asdict(overrides).items() if value is not None}
        if "rank" in given:
            given["alpha"] = 2 * given["rank"]
        return replace(settings, **given)

    def _task(self, run: TrainingRunRow) -> NewTask:
        return NewTask(
            prompt=f"Fine-tune {run.base} on {run.rows} approved samples",
            agent=TrainingAgent.name,
            task_type="kairos:training",
            lane=Lane.TRAIN,
            timeout_s=self._settings.timeout_s,
            max_attempts=ATTEMPTS,
        )

    async def _reject_second(self, statuses: Sequence[training.RunStatus], base: str) -> None:
        for status in statuses:
            if status.run.base == base and state_of(status) in ACTIVE:
                raise Conflict(
                    what=f"Training {base}",
                    reason=f"run {status.run.id} is active",
                    remedy="Wait for that run, or cancel it",
                )


def state_of(status: training.RunStatus) -> RunState:
    """The state of a run: the one its worker wrote, unless its task was cancelled or failed."""
    state = RunState(status.run.state)
    if state not in ACTIVE:
        return state
    if status.task_state is None:  # its daemon died before it could submit the task
        return state if datetime.now(UTC) - status.run.created_at < SUBMITTED_WITHIN else RunState.FAILED
    if status.task_state == TaskState.CANCELLED:
        return RunState.CANCELLED
    ended = TaskState(status.task_state).final
    return RunState.FAILED if ended else state


def unavailable_reason(model: Model) -> str | None:
    """The reason why adapters cannot be trained for the model; None if they can."""
    if model.weights is None:
        return "its entry in kairos.toml has no `weights`"
    return None if model.adapter_host else "its entry in kairos.toml has no `adapters`"
