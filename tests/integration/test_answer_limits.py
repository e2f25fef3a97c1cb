"""Answer limits end to end: every answer has one, every retry fits the context, a truncated answer is reported."""

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


async def test_verdict_reports_a_truncated_answer(app: KairosApp, models: ModelServer):
    task = await app.finished(await app.submit("Write a long story"))
    assert (task.state, task.error) == (TaskState.REJECTED, None)
    assert [body["max_tokens"] for body in sent(models)] == [512, 512]
    (finding,) = (await app.verdicts(task.id))[0].findings
    assert "truncated at 512 tokens, the model's default answer limit" in finding["message"]
    assert "--max-tokens" in finding["message"]


async def test_retry_fits_the_context_and_keeps_the_findings(app: KairosApp, models: ModelServer):
    """The first answer filled the context, so the retry contains a shortened draft."""
    await app.finished(await app.submit("Write a long story", max_tokens=1900))
    first, second = sent(models)
    assert first["max_tokens"] == 1900
    assert prompt_upper_bound(second["messages"]) + second["max_tokens"] <= SMALL
    assert "cut off" in second["messages"][-1]["content"]
    assert "characters left out" in second["messages"][-2]["content"]


async def test_limit_beyond_the_context_is_lowered_and_reported(app: KairosApp, models: ModelServer):
    task = await app.finished(await app.submit("Write a long story", max_tokens=100_000))
    assert sent(models)[0]["max_tokens"] < SMALL
    assert "the rest of the model's context" in (await app.verdicts(task.id))[0].findings[0]["message"]


async def test_first_verdict_stands_if_a_retry_does_not_fit(app: KairosApp, models: ModelServer):
    """The prompt fills the context except for the shortest answer."""
    models.add(ScriptedModel("small", answer="wrong"))
    prompt = "word " * 3000
    while prompt_upper_bound(({"content": prompt}, {"content": "x" * 200})) + 128 + 24 > SMALL:
        prompt = prompt[:-50]
    task = await app.finished(await app.submit(prompt, require=("something that no answer of this model has",) * 20))
    assert (task.state, task.error) == (TaskState.REJECTED, None)


async def test_prompt_that_does_not_fit_is_not_sent(app: KairosApp, models: ModelServer):
    task = await app.finished(await app.submit("word " * 3000))
    assert task.state == TaskState.FAILED
    assert "exceed its 2048" in (task.error or {})["message"]
    assert sent(models) == []


async def test_slow_model_has_a_lower_default_limit(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("small", answer="word " * 40, tokens_per_s=2.0 * 10))
    router = app.parts.llm.router
    assert router.answer_limit(router.require("small")) == 512
    router._caller._speeds._speeds["small"] = 2.0  # measuring 2 tokens per second would take too long
    assert router.answer_limit(router.require("small")) == 192


async def test_prompt_cut_by_the_server_fails_the_call_and_sets_the_context(addresses: Addresses, models: ModelServer):
    models.add(ScriptedModel("small", answer="an answer to half of it", usage=(4096, 10)))
    prompt = "The committee of the region described an unusually thorough investigation. " * 500
    async with app_with_model(addresses, models, context=16384) as app:
        task = await app.finished(await app.submit(prompt))
        router = app.parts.llm.router
        assert task.state == TaskState.FAILED
        assert (task.error or {})["code"] == "model_prompt_cut"
        assert "OLLAMA_CONTEXT_LENGTH" in (task.error or {})["message"]
        assert router.contexts.of(router.require("small")) == 4096
        again = await app.finished(await app.submit(prompt))
        assert "exceed its 4096" in (again.error or {})["message"]
        router.reset(router.require("small"))
        assert router.contexts.of(router.require("small")) == 16384


async def test_next_model_is_called_after_a_cut_prompt(addresses: Addresses, models: ModelServer):
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


async def test_context_named_in_a_refusal_is_stored(addresses: Addresses, models: ModelServer):
    def refuses(body: Mapping[str, Any]) -> tuple[int, Any] | None:
        if body["max_tokens"] <= 1024:
            return None
        return 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you "
                     "requested 5000 tokens (100 in the messages, 4900 in the completion).", "code": 400}  # fmt: skip

    models.add(ScriptedModel("small", answer="short", refuses=refuses))
    async with app_with_model(addresses, models, context=16384) as app:
        task = await app.finished(await app.submit("hello"))
        router = app.parts.llm.router
        assert task.state == TaskState.SUCCEEDED
        assert router.contexts.of(router.require("small")) == 4096
    assert [body["max_tokens"] for body in sent(models)] == [2048, 1024]


class Ollama:
    """Answers like Ollama about a model that is loaded or not."""

    def __init__(self) -> None:
        self.loaded: int | None = None
        self.num_ctx: int | None = None

    def __call__(self, request: ReceivedRequest) -> Any:
        if request.target == "/api/ps":
            row = {"name": "small:latest", "model": "small:latest", "context_length": self.loaded}
            return {"models": [row] if self.loaded else []}
        if request.target == "/api/show":
            parameters = f'num_ctx                        {self.num_ctx}\nstop    "x"' if self.num_ctx else ""
            return {"parameters": parameters, "model_info": {"llama.context_length": 8192}}
        return 404, {"error": "not here"}


async def test_context_served_by_ollama_is_polled(addresses: Addresses, models: ModelServer):
    ollama = Ollama()
    async with AnyServer(ollama) as server:
        entry = ModelSettings(name="o", upstream="small", base_url=f"{server.address}/v1", local=True)
        async with open_app(addresses, models, models=[entry]) as app:
            router = app.parts.llm.router
            model = router.require("o")
            run_poller = next(run for run in app.parts.background if "ContextPoller" in run.__qualname__)
            poll = run_poller.__self__.poll  # type: ignore[attr-defined]
            await poll()
            assert router.contexts.of(model) == 4096, "Ollama's default, while no model is loaded"
            ollama.loaded = 2048
            await poll()
            assert router.contexts.of(model) == 2048
            ollama.loaded = None
            await poll()
            assert router.contexts.of(model) == 2048, "it will be loaded with the same context"
            ollama.num_ctx = 6144
            await poll()
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
async def test_context_of_other_servers_is_read_from_their_own_endpoints(
    addresses: Addresses, models: ModelServer, answers: Mapping[str, Any], context: int
):
    async with AnyServer(lambda request: answers.get(request.target, (404, {}))) as server:
        entry = ModelSettings(name="o", upstream="small", base_url=f"{server.address}/v1", local=True)
        async with open_app(addresses, models, models=[entry]) as app:
            router = app.parts.llm.router
            run_poller = next(run for run in app.parts.background if "ContextPoller" in run.__qualname__)
            await run_poller.__self__.poll()  # type: ignore[attr-defined]
            assert router.contexts.of(router.require("o")) == context
