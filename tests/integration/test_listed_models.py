"""The models of a server are listed before and after it is stored, or the problem is named with its remedy."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from tests.kit.any_server import AnyServer, ReceivedRequest
from tests.kit.api import Caller, Reply
from tests.kit.model_server import ModelServer
from tests.kit.providers import KEY, create


async def result_at(caller: Caller, address: str, **fields: Any) -> Reply:
    body = {"kind": "openai-compatible", "address": address, "key": KEY, **fields}
    return await caller.post("/api/providers/test", body)


async def test_working_server_lists_its_models(operator: Caller, cloud: ModelServer):
    tested = await result_at(operator, cloud.base_url)
    assert (tested["ok"], tested["total"]) == (True, 2)
    assert [model["name"] for model in tested["models"]] == ["large", "small"]
    assert tested["models"][0]["price"] is None


@pytest.mark.parametrize(
    ("answer", "kind", "remedy"),
    [
        ((401, {"error": {"message": f"bad key {KEY}"}}), "wrong_key", "Copy the key again"),
        ((404, {"error": "no"}), "not_found", "/v1"),
        ((429, {"error": "slow down"}), "rate_limited", "Wait"),
        ((503, {"error": "down"}), "server_error", "later"),
        ({"data": []}, "no_models", "account"),
        ({"data": None}, "no_models", "account"),
        ({"hello": 1}, "not_a_listing", "/v1"),
        ([1, 2], "not_a_listing", "/v1"),
    ],
)
async def test_errors_name_cause_and_remedy(operator: Caller, answer: Any, kind: str, remedy: str):
    async with AnyServer(lambda _: answer) as server:
        tested = await result_at(operator, f"{server.address}/v1", kind="openai")
    assert (tested["ok"], tested["problem"]["kind"]) == (False, kind)
    assert remedy in tested["problem"]["remedy"]
    assert KEY not in str(tested.body)


async def test_web_page_and_redirect_are_recognised(operator: Caller):
    page = web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")
    async with AnyServer(lambda _: page) as server:
        tested = await result_at(operator, server.address)
    assert tested["problem"]["kind"] == "web_page"
    moved = web.Response(status=301, headers={"Location": "https://elsewhere.example/v1/models"})
    async with AnyServer(lambda _: moved) as server, AnyServer(lambda _: {"data": []}) as other:
        del other
        tested = await result_at(operator, server.address)
    assert (tested["problem"]["kind"], "elsewhere.example" in tested["problem"]["cause"]) == ("redirect", True)


async def test_server_that_is_not_running(operator: Caller, unused_tcp_port: int):
    tested = await result_at(operator, f"http://127.0.0.1:{unused_tcp_port}/v1", kind="ollama")
    assert tested["problem"]["kind"] == "unreachable"
    assert "OLLAMA_HOST" in tested["problem"]["remedy"]


async def test_three_thousand_models_are_searched(operator: Caller):
    listing = {"data": [{"id": f"model-{n:04}", "context_length": 4096} for n in range(3000)]}
    async with AnyServer(lambda _: listing) as server:
        tested = await result_at(operator, f"{server.address}/v1")
        found = await result_at(operator, f"{server.address}/v1", search="MODEL-2999")
    assert (tested["total"], len(tested["models"])) == (3000, 1000)
    assert [(model["name"], model["context"]) for model in found["models"]] == [("model-2999", 4096)]


async def test_prices_and_capabilities_of_a_listing(operator: Caller):
    entry = {
        "id": "lab/good",
        "context_length": 131072,
        "pricing": {"prompt": "0.0000025", "completion": "0.00001"},
        "supported_parameters": ["tools", "temperature"],
        "architecture": {"input_modalities": ["text", "image"]},
    }
    negative = {"id": "lab/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
    async with AnyServer(lambda _: {"data": [negative, entry]}) as server:
        tested = await result_at(operator, f"{server.address}/v1", kind="openrouter")
    good, auto = tested["models"]
    assert (good["name"], good["context"], good["capabilities"]) == ("lab/good", 131072, ["tools", "vision"])
    assert (good["price"]["input"], good["price"]["output"]) == (2.5, 10.0)
    assert good["price"]["at"]
    assert good["price"]["source"]
    assert (auto["price"], auto["capabilities"]) == (None, None), "a negative price is unknown"


async def test_context_and_capabilities_of_ollama(operator: Caller):
    """One of its models cannot be described, which hides no other one."""
    shown = {"capabilities": ["completion", "tools"], "model_info": {"llama.context_length": 32768}}

    def answer(request: ReceivedRequest) -> Any:
        if request.target == "/api/tags":
            return {"models": [{"name": "good:latest"}, {"name": "broken:latest"}]}
        assert request.target == "/api/show"
        return shown if b"good:latest" in request.body else (500, {"error": "no such file"})

    async with AnyServer(answer) as server:
        tested = await result_at(operator, f"{server.address}/v1", kind="ollama")
    found = {model["name"]: (model["context"], model["capabilities"]) for model in tested["models"]}
    assert found == {"good:latest": (32768, ["json_schema", "tools"]), "broken:latest": (None, None)}


async def test_negative_price_is_refused(operator: Caller, cloud: ModelServer):
    provider = await create(operator, cloud)
    for price in ({"input": -1, "output": 1}, {"input": 1, "output": 1e9}):
        body = {"models": [{"upstream": "large", "price": price}]}
        assert (await operator.post(f"/api/providers/{provider['id']}/models", body)).status == 422


async def test_upstream_models_show_what_was_added(operator: Caller, cloud: ModelServer):
    provider = await create(operator, cloud, "large")
    listed = await operator.get(f"/api/providers/{provider['id']}/models")
    assert {model["name"]: model["added"] for model in listed["models"]} == {"large": ["large"], "small": []}
