"""The outcome of a task whose draft was rejected and whose retry could not be sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kairos.db.models import TaskState
from kairos.llm.calls.answer_limits import PromptTooLong
from kairos.llm.calls.prompt_cut import ModelPromptCut
from kairos.llm.calls.providers import ChatRequest, Completion, ModelCallError
from kairos.llm.catalog.catalog import Model
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator

CUT = ModelPromptCut(
    Model("m", "m", "http://127.0.0.1:1/v1"),
    ChatRequest(({"role": "user", "content": "hello"},)),
    Completion("half", "stop", None, None, 1.0, "m"),
    4096,
    4096,
)


@pytest.mark.parametrize("error", [CUT, PromptTooLong(model="m", reason="it has no room")])
def test_failed_retry_keeps_the_first_verdict(error: ModelCallError):
    coordinator, claim, rejected = AgentCoordinator.__new__(AgentCoordinator), SimpleNamespace(task_id="t"), object()
    given: Any = claim
    drafts: list[Any] = [rejected]
    outcome = coordinator._failed(given, error, drafts)
    assert (outcome.state, outcome.drafts) == (TaskState.REJECTED, (rejected,))
    assert coordinator._failed(given, error, []).state is TaskState.FAILED
