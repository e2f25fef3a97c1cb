"""Centroids learned from labelled prompts in PostgreSQL: shared by replicas, persistent, private to a project."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kairos.db.engine import Database
from kairos.db.repositories.access import people
from kairos.db.repositories.routing import task_types
from kairos.db.repositories.routing.task_types import CentroidRow
from kairos.llm.routing import task_types as task_types_module
from kairos.llm.routing.centroids import Centroid, merged
from kairos.llm.routing.embedder import EMBEDDING_MODEL, Embedder
from kairos.llm.routing.task_types import TaskTypes, TaskTypeSource
from kairos.tenancy import ProjectId, Scope, UserId, new_id
from tests.kit.conditions import eventually

CODE = [
    f"Write a Python function that {action}" for action in ("sorts", "parses dates", "adds", "reads a file", "counts")
]
TRAVEL = [f"Where can I spend a holiday {where}" for where in ("at sea", "in May", "in Italy", "with kids", "skiing")]


@pytest.fixture
async def project(database: Database) -> ProjectId:
    user, project = UserId(new_id()), ProjectId(new_id())
    async with database.scope(Scope(project_id=project, user_id=user, operator=True)) as session:
        await people.add_user(session, user, f"{user}@example.org", "Somebody", operator=False)
        await people.add_project(session, project, "Somewhere", user)
    return project


@pytest.fixture(scope="module")
async def embedder() -> AsyncIterator[Embedder]:
    embedder = Embedder()
    yield embedder
    await embedder.close()


async def add(
    database: Database, project: ProjectId, sums: dict[str, list[float]], most: float = 200, types: int = 64
) -> None:
    """Add one example of each given type."""
    additions = {name: (1.0, total) for name, total in sums.items()}
    async with database.project(project) as session:
        await task_types.add(session, project, EMBEDDING_MODEL, additions, most=most, types=types)


async def stored(database: Database, project: ProjectId) -> dict[str, CentroidRow]:
    async with database.project(project) as session:
        return {row.task_type: row for row in await task_types.centroids(session, EMBEDDING_MODEL)}


def replica(embedder: Embedder, database: Database) -> TaskTypes:
    return TaskTypes(embedder, database, budget_s=20, loading_budget_s=20)


async def test_concurrent_additions_are_all_counted(database: Database, project: ProjectId):
    await asyncio.gather(*(add(database, project, {"b": [0.0, 1.0], "a": [1.0, 0.5]}) for _ in range(40)))
    rows = await stored(database, project)
    assert (rows["a"].examples, list(rows["a"].vector_sum)) == (40, [40.0, 20.0])
    assert (rows["b"].examples, list(rows["b"].vector_sum)) == (40, [0.0, 40.0])


async def test_statement_merges_like_the_python_function(database: Database, project: ProjectId):
    """Checked below and above the maximum number of examples of a mean."""
    expected: Centroid | None = None
    for vector in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0], [0.8, -0.6]):
        await add(database, project, {"a": vector}, most=3)
        expected = merged(expected, Centroid(1, vector), most=3) if expected else Centroid(1, vector)
        row = (await stored(database, project))["a"]
        assert row.examples == pytest.approx(expected.count)
        assert list(row.vector_sum) == pytest.approx(list(expected.sum), abs=1e-6)


async def test_types_with_the_most_examples_are_kept(database: Database, project: ProjectId):
    for _ in range(2):
        await add(database, project, {"often": [1.0]})
    for number in range(5):
        await add(database, project, {f"once {number}": [1.0]}, types=3)
    assert set(await stored(database, project)) == {"often", "once 4", "once 3"}


async def test_another_project_can_neither_read_nor_change_centroids(database: Database, project: ProjectId):
    await add(database, project, {"a": [1.0]})
    other_project = ProjectId(new_id())
    assert await stored(database, other_project) == {}
    with pytest.raises(Exception, match="row-level security"):
        async with database.project(other_project) as session:
            await task_types.add(session, project, EMBEDDING_MODEL, {"a": (1.0, [1.0])}, most=200, types=1)
    assert (await stored(database, project))["a"].examples == 1


async def test_vectors_of_other_models_are_separate(database: Database, project: ProjectId):
    theirs = {"a": (1.0, [1.0, 2.0, 3.0]), "b": (9.0, [9.0, 9.0, 9.0])}
    async with database.project(project) as session:
        await task_types.add(session, project, "another-model", theirs, most=200, types=64)
    await add(database, project, {"a": [1.0]})
    assert list((await stored(database, project))["a"].vector_sum) == [1.0]
    await add(database, project, {"a": [1.0], "b": [1.0]}, types=1)  # drops b of this model only
    async with database.project(project) as session:
        assert len(await task_types.centroids(session, EMBEDDING_MODEL)) == 1
        assert len(await task_types.centroids(session, "another-model")) == 2


async def test_another_replica_recognises_a_learned_task_type(
    database: Database, project: ProjectId, embedder: Embedder
):
    first = replica(embedder, database)
    first.start()
    for name, prompts in (("code", CODE), ("travel", TRAVEL)):
        for prompt in prompts:
            await first.of(project, prompt, name, 10)
    await first.join()
    await first.close()
    found = await replica(embedder, database).of(project, "Write a Python function that reverses a list", None, 10)
    assert (found.name, found.source) == ("code", TaskTypeSource.CLASSIFIER)
    assert {name: row.examples for name, row in (await stored(database, project)).items()} == {"code": 5, "travel": 5}


async def test_running_replica_reads_later_centroids(
    database: Database, project: ProjectId, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(task_types_module, "STALE_S", 0.0)
    question, waiting = "Write a Python function that reverses a list", replica(embedder, database)
    assert (await waiting.of(project, question, None, 10)).source is TaskTypeSource.DEFAULT
    for name, prompts in (("code", CODE), ("travel", TRAVEL)):
        for vector in await embedder.embed(prompts, 64):
            await add(database, project, {name: list(vector)})

    async def recognised() -> bool:
        return (await waiting.of(project, question, None, 10)).name == "code"

    await eventually(recognised)
    await waiting.close()


async def test_failed_write_is_repeated(
    database: Database, project: ProjectId, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
):
    replica_a = replica(embedder, database)
    replica_a.start()
    await replica_a.of(project, CODE[0], "code", 10)
    await replica_a.join()

    async def fails(*_args: object, **_named: object) -> None:
        raise OSError("connection lost")

    with monkeypatch.context() as broken:
        broken.setattr(task_types, "add", fails)
        with pytest.raises(OSError, match="connection lost"):
            await replica_a.flush()
    await replica_a.flush()
    await replica_a.flush()
    assert (await stored(database, project))["code"].examples == 1
    await replica_a.close()
