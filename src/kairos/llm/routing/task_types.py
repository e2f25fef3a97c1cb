"""The type of a request: the caller's word, else what the project's own labelled prompts say, else `general`.

No word or name stands for a type anywhere: a type is the mean of the vectors of prompts that callers gave it
(`centroids.py`, `embedder.py`). Prompts with a type are learned from behind the request, those without are compared.
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
from kairos.db.repositories import task_types
from kairos.errors import EngineUnavailable, KairosError
from kairos.llm.routing.centroids import MOST_TYPES, REMEMBERED, Centroid, ProjectCentroids, merged_all
from kairos.llm.routing.embedder import CHARACTERS_PER_TOKEN, EMBEDDING_MODEL, Embedder
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

GENERAL = "general"

READ_TOKENS = 64
"""Of a prompt: what is asked mostly stands at its beginning, and the time to embed grows with the length."""
BUDGET_S = 0.1
"""For recognising the type of one request. 7 ms is usual; on two busy cores the longest took 47."""
LOADING_BUDGET_S = 1.5
"""The same while the model is not loaded. A project that asks every ten minutes would never be recognised otherwise."""
QUEUED = 256
"""Labelled prompts that wait to be learned from; more are not learned from."""
FLUSH_S = 5.0
STALE_S = 30.0
"""Age from which the centroids are read again, for what other replicas learned."""
PROJECTS_KEPT = 256


class Source(StrEnum):
    """Who said of which type a request is."""

    CALLER = "caller"
    CLASSIFIER = "classifier"
    DEFAULT = "default"


class Length(StrEnum):
    """How long the input of a request is."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class TaskType:
    """What is known of the kind of a request before any model sees it."""

    name: str
    source: Source
    confidence: float | None
    """By how much the nearest type was nearer than the second (difference of cosines); None where none was compared."""
    length: Length
    reason: str | None = None
    """Why nothing better than the default was found."""


SHORT_TOKENS = 150
"""Up to here a request is a question or an instruction by itself, about 100 words."""
LONG_TOKENS = 1000
"""From here on it carries a document: reading it takes a small local model longer than answering does."""


def length_of(input_tokens: float) -> Length:
    """The length bucket of all that is sent to the model."""
    if input_tokens <= SHORT_TOKENS:
        return Length.SHORT
    return Length.MEDIUM if input_tokens <= LONG_TOKENS else Length.LONG


def statistics_key(name: str, length: Length) -> str:
    """What the router's statistics of a request are kept under: its type, and for long inputs the length besides.

    A finer split costs more than it tells. On `routing_dev.csv` (8 orders) types split in two or three by length lost
    up to .012 of quality and .004 of utility, and split in three by chance .02. Its inputs end at 550 tokens: those
    beyond `LONG_TOKENS` are kept apart because speed and first token differ most there.
    """
    return f"{name}/{length}" if length is Length.LONG else name


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text that says what is wanted: the user's last message."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content") or ""
            return content if isinstance(content, str) else _joined(content)
    return ""


def _joined(parts: Sequence[Any]) -> str:
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and part.get("text"))


class _Lesson(NamedTuple):
    project_id: ProjectId
    task_type: str
    text: str


class TaskTypes:
    """Tells the types of requests, and learns them. One object for each process.

    Without a database it learns in memory alone.
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
        self._lessons: asyncio.Queue[_Lesson] = asyncio.Queue(QUEUED)
        self._learning: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to learn from what `of` is told."""
        self._learning = asyncio.create_task(self._learn_for_ever(), name="task types")

    async def close(self) -> None:
        """Write what was learned, and end. Prompts not learned from yet are left."""
        running = [task for task in (self._learning, *self._reading.values()) if task]
        await end(*running)
        with suppress(EngineUnavailable):
            await self.flush()

    async def of(self, project_id: ProjectId, prompt: str, given: str | None, input_tokens: float) -> TaskType:
        """The type of a request. Costs nothing where it is given; never raises for want of a model or a database."""
        length = length_of(input_tokens)
        if given:
            self._offer(project_id, given, prompt)
            return TaskType(given, Source.CALLER, None, length)
        try:
            async with asyncio.timeout(self._budgets[self._embedder.state.loaded]):
                return await self._recognised(project_id, prompt, length)
        except TimeoutError:
            return _default(length, "recognising the type took too long")
        except KairosError as error:
            return _default(length, str(error))

    async def settle(self) -> None:
        """Wait until every labelled prompt offered so far was learned from."""
        await self._lessons.join()

    async def flush(self) -> None:
        """Write what was learned since the last time. Raises `EngineUnavailable`; then nothing is lost."""
        for project_id, project in list(self._projects.items()):
            if project.unwritten and self._database:
                try:
                    await self._write(project_id, project, self._database)
                except ProjectGone:
                    self._projects.pop(project_id, None)

    async def _recognised(self, project_id: ProjectId, prompt: str, length: Length) -> TaskType:
        project = await self._known(project_id)
        if not project.classifier.ready:
            return _default(length, "fewer than two task types of this project have enough labelled prompts")
        if not prompt.strip():
            return _default(length, "there is no text to compare")
        (vector,) = await self._embedder.embed([prompt], READ_TOKENS)
        guess = project.classifier.guess(vector)
        if guess.certain:
            return TaskType(guess.name, Source.CLASSIFIER, guess.margin, length)
        return _default(length, f"not near enough to one type: {guess.name} by {guess.cosine:.2f}", guess.margin)

    def _offer(self, project_id: ProjectId, task_type: str, prompt: str) -> None:
        if not self._embedder.state.available or not prompt.strip():
            return
        if self._project(project_id).wants(task_type):
            with suppress(asyncio.QueueFull):  # the next one will do as well
                text = prompt[: READ_TOKENS * CHARACTERS_PER_TOKEN]
                self._lessons.put_nowait(_Lesson(project_id, task_type, text))

    def _project(self, project_id: ProjectId) -> ProjectCentroids:
        project = self._projects.setdefault(project_id, ProjectCentroids())
        self._projects.move_to_end(project_id)
        if len(self._projects) > PROJECTS_KEPT:
            written = next((key for key, kept in self._projects.items() if not kept.unwritten), project_id)
            if written != project_id:
                del self._projects[written]
        return project

    async def _known(self, project_id: ProjectId) -> ProjectCentroids:
        """The project with what the replicas share: read now if it never was, and behind the request if it is old."""
        project = self._project(project_id)
        if self._database is None:
            return project
        if project.read_at is None:
            # Owned and shielded: a request that runs out of time neither ends the reading nor breaks its connection.
            await asyncio.shield(self._read(project_id, project, self._database))
        elif self._clock() - project.read_at > STALE_S:
            self._read(project_id, project, self._database)
        return project

    def _read(self, project_id: ProjectId, project: ProjectCentroids, database: Database) -> asyncio.Task[None]:
        task = self._reading.get(project_id)
        if task is None:
            task = self._reading[project_id] = asyncio.create_task(self._read_now(project_id, project, database))
            task.add_done_callback(lambda done: self._has_read(project_id, done))
        return task

    def _has_read(self, project_id: ProjectId, done: asyncio.Task[None]) -> None:
        del self._reading[project_id]
        if not done.cancelled() and (error := done.exception()):
            log.warning("The task types of project %s could not be read: %s", project_id, error)

    async def _read_now(self, project_id: ProjectId, project: ProjectCentroids, database: Database) -> None:
        before = project.read_at
        async with database.project(project_id) as session:
            rows = await task_types.centroids(session, EMBEDDING_MODEL)
        if project.read_at == before:  # else a flush read after us
            project.replace_shared(_centroids(rows), self._clock())

    async def _learn_for_ever(self) -> None:
        flush_at = self._clock() + FLUSH_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):  # not wait_for, which in 3.11 loses a cancel now and then
                    lesson = await self._lessons.get()
                await self._learn_from(lesson)
            if self._clock() >= flush_at:
                await self._flush_or_say()
                flush_at = self._clock() + FLUSH_S

    async def _learn_from(self, lesson: _Lesson) -> None:
        try:
            project = await self._known(lesson.project_id)
            (vector,) = await self._embedder.embed([lesson.text], READ_TOKENS)
            project.learn(lesson.task_type, Centroid.of([vector]))
        except Exception as error:  # the boundary of a task that nobody waits for
            log.warning("A prompt of project %s was not learned from: %s", lesson.project_id, error)
        finally:
            self._lessons.task_done()

    async def _flush_or_say(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # as above; what was learned is kept and written with the next flush
            log.warning("What was learned of task types could not be written yet: %s", error)

    async def _write(self, project_id: ProjectId, project: ProjectCentroids, database: Database) -> None:
        added, project.unwritten = project.unwritten, {}
        try:
            async with database.project(project_id) as session:
                sums = {name: (centroid.count, centroid.sum) for name, centroid in added.items()}
                await task_types.add(session, project_id, EMBEDDING_MODEL, sums, most=REMEMBERED, types=MOST_TYPES)
                rows = await task_types.centroids(session, EMBEDDING_MODEL)
        except BaseException:
            project.unwritten = merged_all(added, project.unwritten)
            raise
        project.replace_shared(_centroids(rows), self._clock())


def _centroids(rows: Sequence[task_types.CentroidRow]) -> dict[str, Centroid]:
    return {row.task_type: Centroid(row.examples, row.vector_sum) for row in rows}


def _default(length: Length, reason: str, confidence: float | None = None) -> TaskType:
    return TaskType(GENERAL, Source.DEFAULT, confidence, length, reason)
