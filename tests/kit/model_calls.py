"""Calls of scripted models: requests, response bodies, and the errors that they cause."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kairos.llm.calls.providers import ChatRequest, ModelCallError, Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.model_server import Fault, FaultKind, ModelServer

HELLO = ChatRequest(({"role": "user", "content": "say hello"},))
KEY = "sk-very-secret"


def model(server: ModelServer, **changes: Any) -> Model:
    return Model(**{"name": "mine", "upstream": "up", "base_url": server.base_url, "api_key": KEY, **changes})


async def failed(providers: Providers, called: Model, request: ChatRequest = HELLO, timeout_s: float = 5) -> Any:
    """Make a call that fails and return its error. Checks that the message does not contain the API key."""
    with pytest.raises(ModelCallError) as caught:
        await providers.chat(called, request, timeout_s=timeout_s)
    assert KEY not in str(caught.value)
    assert caught.value.model == "mine"
    assert caught.value.duration_s > 0
    return caught.value


def events(*values: object) -> str:
    """Return a body of server-sent events."""
    return "".join(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n" for value in values)


def delta(content: object = None, finish: str | None = None, **more: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish}]}


async def answered(server: ModelServer, providers: Providers, body: str) -> Any:
    """Return the completion of a call that the server answers with this body."""
    server.clear_faults()
    server.fail("up", Fault(FaultKind.GARBAGE_BODY, body=body, requests=1))
    return await providers.chat(model(server), HELLO, timeout_s=5)


async def garbled(server: ModelServer, providers: Providers, body: str) -> Any:
    """Return the error of a call that the server answers with this invalid body."""
    server.fail("up", Fault(FaultKind.GARBAGE_BODY, body=body, requests=1))
    return await failed(providers, model(server))
