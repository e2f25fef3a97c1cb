"""Every answer has a limit, every retry fits, and a truncated answer says so, through the whole of Kairos."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kairos.config import ModelSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.llm.calls.prompt_size import prompt_upper_bound
from tests.kit.any_server import AnyServer, ReceivedRequest
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel

STORY = "Once upon a time there was a tokenizer. " * 400
SMALL = 2048


@asynccontextmanager
async def app_with_model(addresses: Addresses, models: ModelServer, **entry: Any) -> AsyncIterator[KairosApp]:
    small = ModelSettings(name="small", base_url=models.base_url, local=True, **{"context": SMALL, **entry})
    async with open_app(addresses, models, models=[small]) as app, app.working():
        yield app


@pytest.fixture
async def app(addresses: Addresses, models: ModelServer) -> AsyncIterator[KairosApp]:
    models.add(ScriptedModel("small", answer=STORY))
    async with app_with_model(addresses, models) as running:
        yield running


def sent(models: ModelServer) -> list[Mapping[str, Any]]:
    return [call.body for call in models.calls_of("small")]


async def test_a_long_story_ends_with_an_honest_verdict(app: KairosApp, models: ModelServer):
    task = await app.finished(await app.submit("Write a long story"))
    assert (task.state, task.error) == (TaskState.REJECTED, None)
    assert [body["max_tokens"] for body in sent(models)] == [512, 512]
    (finding,) = (await app.verdicts(task.id))[0].findings
    assert "truncated at 512 tokens, the model's default answer limit" in finding["message"]
    assert "--max-tokens" in finding["message"]


async def test_a_retry_fits_and_keeps_the_findings(app: KairosApp, models: ModelServer):
    """With all of its room taken by the first answer, the draft has to be shortened."""
    await app.finished(await app.submit("Write a long story", max_tokens=1900))
    first, second = sent(models)
    assert first["max_tokens"] == 1900
    assert prompt_upper_bound(second["messages"]) + second["max_tokens"] <= SMALL
    assert "cut off" in second["messages"][-1]["content"]
    assert "characters left out" in second["messages"][-2]["content"]


async def test_a_limit_that_the_context_has_no_room_for_is_lowered_and_named(app: KairosApp, models: ModelServer):
    task = await app.finished(await app.submit("Write a long story", max_tokens=100_000))
    assert sent(models)[0]["max_tokens"] < SMALL
    assert "the rest of the model's context" in (await app.verdicts(task.id))[0].findings[0]["message"]


async def test_a_retry_for_which_there_is_no_room_leaves_the_first_verdict(app: KairosApp, models: ModelServer):
    """The prompt alone fills the context but for the shortest answer."""
    models.add(ScriptedModel("small", answer="wrong"))
    words = "word " * 3000
    while prompt_upper_bound(({"content": words}, {"content": "x" * 200})) + 128 + 24 > SMALL:
        words = words[:-50]
    task = await app.finished(await app.submit(words, require=("something that no answer of this model has",) * 20))
    assert (task.state, task.error) == (TaskState.REJECTED, None)


async def test_a_prompt_that_does_not_fit_is_not_sent(app: KairosApp, models: ModelServer):
    task = await app.finished(await app.submit("word " * 3000))
    assert task.state == TaskState.FAILED
    assert "exceed its 2048" in (task.error or {})["message"]
    assert sent(models) == []


async def test_a_slow_model_has_a_lower_default(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("small", answer="word " * 40, tokens_per_s=2.0 * 10))
    router = app.parts.services.router
    assert router.answer_limit(router.require("small")) == 512
    router._caller._speeds._speeds["small"] = 2.0  # measuring a speed of 2 tokens a second takes too long here
    assert router.answer_limit(router.require("small")) == 192


async def test_a_prompt_cut_by_its_server_is_a_failed_call_and_the_context_is_remembered(
    addresses: Addresses, models: ModelServer
):
    models.add(ScriptedModel("small", answer="an answer to half of it", usage=(4096, 10)))
    prompt = "The committee of the region described an unusually thorough investigation. " * 500
    async with app_with_model(addresses, models, context=16384) as app:
        task = await app.finished(await app.submit(prompt))
        router = app.parts.services.router
        assert task.state == TaskState.FAILED
        assert (task.error or {})["code"] == "model_prompt_cut"
        assert "OLLAMA_CONTEXT_LENGTH" in (task.error or {})["message"]
        assert router.contexts.of(router.require("small")) == 4096
        again = await app.finished(await app.submit(prompt))
        assert "exceed its 4096" in (again.error or {})["message"]
        router.reset(router.require("small"))
        assert router.contexts.of(router.require("small")) == 16384


async def test_after_a_cut_prompt_the_next_model_is_asked(addresses: Addresses, models: ModelServer):
    models.add(ScriptedModel("cuts", answer="half", usage=(4096, 1)))
    models.add(ScriptedModel("small", answer="whole", usage=False))
    entries = [
        ModelSettings(name="cuts", base_url=models.base_url, local=True, tier=0.95),
        ModelSettings(name="small", base_url=models.base_url, local=True, context=32768, tier=0.1),
    ]
    prompt = "The committee of the region described an unusually thorough investigation. " * 500
    async with (
        open_app(addresses, models, models=[e.model_copy(update={"context": 32768}) for e in entries]) as app,
        app.working(),
    ):
        task = await app.finished(await app.submit(prompt))
    assert (task.state, task.output) == (TaskState.SUCCEEDED, "whole")
    assert len(models.calls_of("cuts")) == 1


async def test_a_context_that_a_server_names_in_its_refusal_is_remembered(addresses: Addresses, models: ModelServer):
    def refuses(body: Mapping[str, Any]) -> tuple[int, Any] | None:
        if body["max_tokens"] <= 1024:
            return None
        return 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you "
                     "requested 5000 tokens (100 in the messages, 4900 in the completion).", "code": 400}  # fmt: skip

    models.add(ScriptedModel("small", answer="short", refuses=refuses))
    async with app_with_model(addresses, models, context=16384) as app:
        task = await app.finished(await app.submit("hello"))
        router = app.parts.services.router
        assert task.state == TaskState.SUCCEEDED
        assert router.contexts.of(router.require("small")) == 4096
    assert [body["max_tokens"] for body in sent(models)] == [2048, 1024]


class Ollama:
    """What Ollama says of a model, loaded or not."""

    def __init__(self) -> None:
        self.loaded: int | None = None
        self.num_ctx: int | None = None

    def __call__(self, asked: ReceivedRequest) -> Any:
        if asked.target == "/api/ps":
            row = {"name": "small:latest", "model": "small:latest", "context_length": self.loaded}
            return {"models": [row] if self.loaded else []}
        if asked.target == "/api/show":
            parameters = f'num_ctx                        {self.num_ctx}\nstop    "x"' if self.num_ctx else ""
            return {"parameters": parameters, "model_info": {"llama.context_length": 8192}}
        return 404, {"error": "not here"}


async def test_the_context_that_ollama_serves_is_known_and_followed(addresses: Addresses, models: ModelServer):
    ollama = Ollama()
    async with AnyServer(ollama) as server:
        entry = ModelSettings(name="o", upstream="small", base_url=f"{server.address}/v1", local=True)
        async with open_app(addresses, models, models=[entry]) as app:
            router = app.parts.services.router
            model = router.require("o")
            watch = next(run for run in app.parts.background if "ContextPoller" in run.__qualname__)
            look = watch.__self__.poll  # type: ignore[attr-defined]
            await look()
            assert router.contexts.of(model) == 4096, "its default, while nothing is loaded"
            ollama.loaded = 2048
            await look()
            assert router.contexts.of(model) == 2048
            ollama.loaded = None
            await look()
            assert router.contexts.of(model) == 2048, "it will be loaded as it was"
            ollama.num_ctx = 6144
            await look()
            assert router.contexts.of(model) == 6144
            assert router.answer_limit(model) == 1536


@pytest.mark.parametrize(
    ("answers", "context"),
    [
        ({"/v1/models": {"data": [{"id": "small", "max_model_len": 3072, "owned_by": "vllm"}]}}, 3072),
        ({"/v1/models": {"data": [{"id": "small", "owned_by": "llamacpp"}]},
          "/props": {"default_generation_settings": {"n_ctx": 1024}}}, 1024),
        ({"/v1/models": {"data": [{"id": "small", "owned_by": "organization_owner"}]},
          "/api/v0/models": {"data": [{"id": "small", "loaded_context_length": 5000}]}}, 5000),
        ({"/v1/models": {"data": [{"id": "small", "max_model_len": "many"}]}}, 8192),
        ({"/v1/models": []}, 8192),
        ({}, 8192),
    ],
)  # fmt: skip
async def test_other_servers_are_asked_in_their_own_way(
    addresses: Addresses, models: ModelServer, answers: Mapping[str, Any], context: int
):
    async with AnyServer(lambda asked: answers.get(asked.target, (404, {}))) as server:
        entry = ModelSettings(name="o", upstream="small", base_url=f"{server.address}/v1", local=True)
        async with open_app(addresses, models, models=[entry]) as app:
            router = app.parts.services.router
            watch = next(run for run in app.parts.background if "ContextPoller" in run.__qualname__)
            await watch.__self__.poll()  # type: ignore[attr-defined]
            assert router.contexts.of(router.require("o")) == context
