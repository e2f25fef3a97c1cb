"""Task types of requests: given by the caller, or classified by the project's labelled prompts, or `general`.

There is no built-in list of types or keywords. A type is the mean vector of the prompts that callers labelled with it
(`centroids.py`, `embedder.py`). Prompts with a type are learned in the background; prompts without one are classified.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Any, NamedTuple

from kairos.background_tasks import end
from kairos.db.engine import Database, ProjectGone
from kairos.db.repositories.routing import task_types
from kairos.errors import EngineUnavailable, KairosError
from kairos.llm.routing.centroids import MAX_EXAMPLES, MAX_TYPES, Centroid, ProjectCentroids, merged_all
from kairos.llm.routing.embedder import CHARACTERS_PER_TOKEN, EMBEDDING_MODEL, Embedder
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

GENERAL = "general"

READ_TOKENS = 64
"""Tokens read of a prompt. The instruction is mostly at the beginning, and embedding time grows with the length."""
BUDGET_S = 0.1
"""Time limit for classifying one request. 7 ms is typical; on two busy cores the longest took 47 ms."""
LOADING_BUDGET_S = 1.5
"""Time limit while the embedding model is not loaded. With a shorter one, rare requests would never be classified."""
QUEUED = 256
"""Maximum number of labelled prompts waiting to be learned; further ones are skipped."""
FLUSH_S = 5.0
STALE_S = 30.0
"""Age after which the centroids are reloaded, to include what other replicas learned."""
PROJECTS_KEPT = 256


class TaskTypeSource(StrEnum):
    """Where the task type of a request comes from."""

    CALLER = "caller"
    CLASSIFIER = "classifier"
    DEFAULT = "default"


class Length(StrEnum):
    """Length class of a request's input."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class TaskType:
    """The task type of a request and how it was determined."""

    name: str
    source: TaskTypeSource
    confidence: float | None
    """Difference of the cosines of the nearest and the second-nearest type; None if no types were compared."""
    length: Length
    reason: str | None = None
    """Why the default was used."""


SHORT_TOKENS = 150
"""Maximum of SHORT: a plain question or instruction of about 100 words."""
LONG_TOKENS = 1000
"""Above this, the input contains a document: reading it takes a small local model longer than answering."""


def length_of(input_tokens: float) -> Length:
    """Return the length class of the whole input."""
    if input_tokens <= SHORT_TOKENS:
        return Length.SHORT
    return Length.MEDIUM if input_tokens <= LONG_TOKENS else Length.LONG


def statistics_key(name: str, length: Length) -> str:
    """Return the key of a request's statistics: its task type, and for long inputs also the length.

    A finer split costs more than it gains. On `routing_dev.csv` (8 orders), splitting types in two or three by length
    lost up to .012 of quality and .004 of utility, and splitting in three at random .02. Its inputs end at 550 tokens;
    those beyond `LONG_TOKENS` are kept apart because speed and first token differ most there.
    """
    return f"{name}/{length}" if length is Length.LONG else name


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the user's last message."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content") or ""
            return content if isinstance(content, str) else _joined(content)
    return ""


def _joined(parts: Sequence[Any]) -> str:
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and part.get("text"))


class _LabelledPrompt(NamedTuple):
    project_id: ProjectId
    task_type: str
    text: str


class TaskTypes:
    """Classifies requests by task type and learns from labelled prompts. One instance per process.

    Without a database, centroids are kept in memory only.
    """

    def __init__(
        self,
        embedder: Embedder,
        database: Database | None,
        *,
        budget_s: float = BUDGET_S,
        loading_budget_s: float = LOADING_BUDGET_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._embedder = embedder
        self._database = database
        self._budgets = {True: budget_s, False: loading_budget_s}
        self._clock = clock
        self._projects: OrderedDict[ProjectId, ProjectCentroids] = OrderedDict()
        self._reading: dict[ProjectId, asyncio.Task[None]] = {}
        self._prompts: asyncio.Queue[_LabelledPrompt] = asyncio.Queue(QUEUED)
        self._learning: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start learning the labelled prompts passed to `of`."""
        self._learning = asyncio.create_task(self._learn_forever(), name="task types")

    async def close(self) -> None:
        """Stop learning and save what was learned. Queued prompts are dropped."""
        running = [task for task in (self._learning, *self._reading.values()) if task]
        await end(*running)
        with suppress(EngineUnavailable):
            await self.flush()

    async def of(self, project_id: ProjectId, prompt: str, given: str | None, input_tokens: float) -> TaskType:
        """Return the type of a request. Immediate if the caller gives one; a missing model or database yields the
        default."""
        length = length_of(input_tokens)
        if given:
            self._enqueue(project_id, given, prompt)
            return TaskType(given, TaskTypeSource.CALLER, None, length)
        try:
            async with asyncio.timeout(self._budgets[self._embedder.state.loaded]):
                return await self._classify(project_id, prompt, length)
        except TimeoutError:
            return _default(length, "classifying the prompt took too long")
        except KairosError as error:
            return _default(length, str(error))

    async def join(self) -> None:
        """Wait until all queued prompts have been learned."""
        await self._prompts.join()

    async def flush(self) -> None:
        """Save what was learned since the last flush. Raises `EngineUnavailable`; then nothing is lost."""
        for project_id, project in list(self._projects.items()):
            if project.unwritten and self._database:
                try:
                    await self._write(project_id, project, self._database)
                except ProjectGone:
                    self._projects.pop(project_id, None)

    async def _classify(self, project_id: ProjectId, prompt: str, length: Length) -> TaskType:
        project = await self._loaded(project_id)
        if not project.classifier.ready:
            return _default(length, "fewer than two task types of this project have enough labelled prompts")
        if not prompt.strip():
            return _default(length, "the prompt has no text")
        (vector,) = await self._embedder.embed([prompt], READ_TOKENS)
        guess = project.classifier.guess(vector)
        if guess.confident:
            return TaskType(guess.name, TaskTypeSource.CLASSIFIER, guess.margin, length)
        return _default(
            length, f"no type is near enough; the nearest is {guess.name} ({guess.cosine:.2f})", guess.margin
        )

    def _enqueue(self, project_id: ProjectId, task_type: str, prompt: str) -> None:
        if not self._embedder.state.available or not prompt.strip():
            return
        if self._project(project_id).should_learn(task_type):
            with suppress(asyncio.QueueFull):  # the next one will do
                text = prompt[: READ_TOKENS * CHARACTERS_PER_TOKEN]
                self._prompts.put_nowait(_LabelledPrompt(project_id, task_type, text))

    def _project(self, project_id: ProjectId) -> ProjectCentroids:
        project = self._projects.setdefault(project_id, ProjectCentroids())
        self._projects.move_to_end(project_id)
        if len(self._projects) > PROJECTS_KEPT:
            written = next((key for key, kept in self._projects.items() if not kept.unwritten), project_id)
            if written != project_id:
                del self._projects[written]
        return project

    async def _loaded(self, project_id: ProjectId) -> ProjectCentroids:
        """Return the project with its shared centroids: loaded before the first use, reloaded in the background when
        stale."""
        project = self._project(project_id)
        if self._database is None:
            return project
        if project.read_at is None:
            # A shielded background task: a request that times out neither cancels the read nor breaks its connection.
            await asyncio.shield(self._read(project_id, project, self._database))
        elif self._clock() - project.read_at > STALE_S:
            self._read(project_id, project, self._database)
        return project

    def _read(self, project_id: ProjectId, project: ProjectCentroids, database: Database) -> asyncio.Task[None]:
        task = self._reading.get(project_id)
        if task is None:
            task = self._reading[project_id] = asyncio.create_task(self._read_now(project_id, project, database))
            task.add_done_callback(lambda done: self._on_read(project_id, done))
        return task

    def _on_read(self, project_id: ProjectId, done: asyncio.Task[None]) -> None:
        del self._reading[project_id]
        if not done.cancelled() and (error := done.exception()):
            log.warning("task types of project %s cannot be loaded: %s", project_id, error)

    async def _read_now(self, project_id: ProjectId, project: ProjectCentroids, database: Database) -> None:
        before = project.read_at
        async with database.project(project_id) as session:
            rows = await task_types.centroids(session, EMBEDDING_MODEL)
        if project.read_at == before:  # else a flush has loaded newer ones
            project.replace_shared(_centroids(rows), self._clock())

    async def _learn_forever(self) -> None:
        flush_at = self._clock() + FLUSH_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):  # not wait_for, which can lose a cancellation in Python 3.11
                    labelled = await self._prompts.get()
                await self._learn_from(labelled)
            if self._clock() >= flush_at:
                await self._try_flush()
                flush_at = self._clock() + FLUSH_S

    async def _learn_from(self, labelled: _LabelledPrompt) -> None:
        try:
            project = await self._loaded(labelled.project_id)
            (vector,) = await self._embedder.embed([labelled.text], READ_TOKENS)
            project.learn(labelled.task_type, Centroid.of([vector]))
        except Exception as error:  # nobody awaits this background task
            log.warning("a labelled prompt of project %s was not learned: %s", labelled.project_id, error)
        finally:
            self._prompts.task_done()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # as above; the next flush tries again
            log.warning("learned task types could not be saved: %s", error)

    async def _write(self, project_id: ProjectId, project: ProjectCentroids, database: Database) -> None:
        added, project.unwritten = project.unwritten, {}
        try:
            async with database.project(project_id) as session:
                sums = {name: (centroid.count, centroid.sum) for name, centroid in added.items()}
                await task_types.add(session, project_id, EMBEDDING_MODEL, sums, most=MAX_EXAMPLES, types=MAX_TYPES)
                rows = await task_types.centroids(session, EMBEDDING_MODEL)
        except BaseException:
            project.unwritten = merged_all(added, project.unwritten)
            raise
        project.replace_shared(_centroids(rows), self._clock())


def _centroids(rows: Sequence[task_types.CentroidRow]) -> dict[str, Centroid]:
    return {row.task_type: Centroid(row.examples, row.vector_sum) for row in rows}


def _default(length: Length, reason: str, confidence: float | None = None) -> TaskType:
    return TaskType(GENERAL, TaskTypeSource.DEFAULT, confidence, length, reason)
