"""Adapters are added and removed while Kairos runs. Each serves only its own project; a canary serves a share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kairos.db.models import EventKind
from kairos.llm.calls.call_options import CallOptions
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.call_terms import RoutedAnswer
from kairos.llm.routing.llm_router import CallContext
from kairos.llm.routing.routing_errors import ModelWithdrawn
from kairos.tenancy import ProjectId, new_id
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel

NAME = "echo@12345678-v1"
REQUEST = ChatRequest(messages=({"role": "user", "content": "say hello"},), temperature=0.0)


@pytest.fixture
async def tuned(app: KairosApp, models: ModelServer) -> KairosApp:
    """A `KairosApp` whose server can serve an adapter of `echo`. The router does not know it yet."""
    models.add(ScriptedModel("tuned", answer="from the adapter"))
    return app


def adapter(app: KairosApp, owner: ProjectId | None = None, **values: Any) -> Model:
    """Return an adapter that the router always chooses if it is a candidate."""
    mine = {"base": "echo", "project_id": owner or app.project_id, "local": True, "tier": 0.98}
    return Model(NAME, "tuned", app.models.base_url, **{**mine, **values})


async def answer(app: KairosApp, remove_adapters: bool = False, **options: Any) -> RoutedAnswer:
    """Make a request. `remove_adapters`: remove all adapters right after the decision."""
    router = app.parts.llm.router

    async def emit(kind: EventKind, data: Mapping[str, Any]) -> None:
        if remove_adapters and kind == "decision":
            router.replace_adapters([])

    return await router.complete(CallContext(app.project_id, CallOptions(**options)), REQUEST, emit)


async def test_new_adapter_is_a_candidate_of_the_next_request(tuned: KairosApp):
    router = tuned.parts.llm.router
    assert (await answer(tuned, cache=False)).model == "echo"
    router.replace_adapters([adapter(tuned)])
    assert (await answer(tuned, cache=False)).completion.text == "from the adapter"
    router.replace_adapters([])
    assert (await answer(tuned, cache=False)).model == "echo"


async def test_canary_outside_its_share_is_called_only_by_name(tuned: KairosApp):
    tuned.parts.llm.router.replace_adapters([adapter(tuned, share=0.0)])
    assert (await answer(tuned, cache=False)).model == "echo"
    assert (await answer(tuned, cache=False, model=NAME)).model == NAME


async def test_adapter_removed_between_decision_and_call_is_replaced(tuned: KairosApp):
    tuned.parts.llm.router.replace_adapters([adapter(tuned)])
    assert (await answer(tuned, remove_adapters=True, cache=False)).model == "echo"
    tuned.parts.llm.router.replace_adapters([adapter(tuned)])
    with pytest.raises(ModelWithdrawn):
        await answer(tuned, remove_adapters=True, cache=False, model=NAME)


async def test_new_adapter_invalidates_only_the_cache_of_its_project(tuned: KairosApp):
    router = tuned.parts.llm.router
    first = await answer(tuned)
    await router.on_verdict(first.decision_id, approved=True)
    router.replace_adapters([adapter(tuned, ProjectId(new_id()))])
    assert (await answer(tuned)).cached
    router.replace_adapters([adapter(tuned)])
    assert (await answer(tuned)).model == NAME


async def test_adapter_added_again_has_a_closed_breaker(tuned: KairosApp, models: ModelServer):
    router = tuned.parts.llm.router
    router.replace_adapters([adapter(tuned)])
    models.fail("tuned", Fault(FaultKind.STATUS, status=404, requests=1))
    assert (await answer(tuned, cache=False)).model == "echo", "the adapter was tried"
    assert (await answer(tuned, cache=False)).model == "echo", "its breaker stays open"
    router.replace_adapters([])
    router.replace_adapters([adapter(tuned)])
    assert (await answer(tuned, cache=False)).model == NAME
