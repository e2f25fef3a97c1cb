"""Other projects cannot call, list or detect an adapter of project Y."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from kairos.llm.catalog.catalog import Model
from kairos.llm.health.breaker import ERRORS_IN_A_ROW
from kairos.llm.routing.llm_router import LLMRouter
from kairos.tenancy import new_id
from tests.kit.conditions import eventually
from tests.kit.replicas import server_error
from tests.tenancy.world import World

NAME = "echo@of-y-v1"
ADAPTER_ID = new_id()
MODEL_ROUTES = (
    "/api/models",
    "/api/models/history?name=echo",
    "/api/models/routing?name=echo",
    "/api/overview",
    "/api/health/ready",
    "/api/leaderboard",
    "/api/router/traffic",
    "/api/agents",
)
"""The routes whose responses mention models."""


@pytest.fixture
async def router(world: World) -> AsyncIterator[LLMRouter]:
    """A router in which Y has an adapter of `echo`, with a higher tier than every other model."""
    app = world.app
    router = app.parts.llm.router
    of_y = {"project_id": world.y, "base": "echo", "adapter_id": ADAPTER_ID, "local": True, "tier": 0.98}
    router.replace_adapters([Model(NAME, "echo", app.models.base_url, share=0.999999, **of_y)])
    yield router
    router.replace_adapters([])


async def run_task(world: World, task_id: UUID) -> None:
    """Run a worker until A's task has succeeded."""

    async def ended() -> bool:
        return (await world.a.get(f"/api/tasks/{task_id}"))["state"] == "succeeded"

    async with world.app.working():
        await eventually(ended, 20, "A's task succeeds")


async def test_foreign_adapter_name_is_refused_like_an_unknown_model(world: World, router: LLMRouter):
    theirs = await world.a.post("/api/tasks", {"prompt": "x", "model": NAME})
    nobodys = await world.a.post("/api/tasks", {"prompt": "x", "model": "echo@of-n-v1"})
    assert theirs.status == nobodys.status == 422
    assert str(theirs.body).replace(NAME, "echo@of-n-v1") == str(nobodys.body)
    assert (await world.b.post("/api/tasks", {"prompt": "x", "model": NAME})).status == 201


async def test_adapter_is_listed_under_its_base_in_its_own_project_only(world: World, router: LLMRouter):
    assert [item["name"] for item in (await world.a.get("/api/models"))["items"]] == ["echo"]
    base, mine = (await world.b.get("/api/models"))["items"]
    assert (base["name"], base["base"], base["adapter_id"], base["share"]) == ("echo", None, None, 1.0)
    assert (mine["name"], mine["base"], mine["share"]) == (NAME, "echo", 0.999999)
    assert mine["adapter_id"] == str(ADAPTER_ID)


async def test_other_projects_see_no_trace_of_an_adapter(world: World, router: LLMRouter):
    """Responses about models are the same with and without the adapter, even when its breaker is open."""
    for _ in range(ERRORS_IN_A_ROW):
        permit = router.health.acquire(NAME, 0.0)
        router.health.failed(NAME, permit or 0, server_error(), 0.0)
    assert router.health(NAME, 0.0).open
    with_it = [(await world.a.get(path)).body for path in MODEL_ROUTES]
    ready = router.readiness()
    router.replace_adapters([])
    assert ready == router.readiness()
    assert with_it == [(await world.a.get(path)).body for path in MODEL_ROUTES]
    assert NAME not in str(with_it)


async def test_adapter_is_no_candidate_in_another_project(world: World, router: LLMRouter):
    made = await world.a.post("/api/tasks", {"prompt": "greet me", "temperature": 0.7})
    await run_task(world, made["id"])
    task = (await world.a.get(f"/api/tasks/{made['id']}")).body
    assert [decision["chosen"] for decision in task["decisions"]] == ["echo"]
    assert NAME not in str(task)


async def test_operator_outside_the_project_cannot_reset_an_adapter(world: World, router: LLMRouter):
    assert (await world.operator.post("/api/models/reset", {"name": NAME})).status == 422
    assert (await world.operator.post("/api/models/reset", {"name": "echo"})).status == 204


async def test_adapter_details_are_served_to_its_own_project_only(world: World, router: LLMRouter):
    for what in ("details", "history", "routing"):
        path = f"/api/models/{what}?name="
        assert (await world.b.get(path + NAME)).status == 200
        theirs, nobodys = [await world.a.get(path + name) for name in (NAME, "echo@of-n-v1")]
        assert theirs.status == nobodys.status == 422
        assert str(theirs.body).replace(NAME, "echo@of-n-v1") == str(nobodys.body)
