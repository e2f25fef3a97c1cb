"""What every protocol of model servers must do: OpenAI-compatible, Ollama, Anthropic, and the one of a plugin.

Each test runs for each protocol, on a server that is scripted in the protocol's own terms.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from kairos.config_models import PROTOCOLS
from kairos.errors import KairosError
from kairos.http import HttpError, HttpGarbled, HttpStatus
from kairos.llm.calls.call_errors import ModelOverloaded, ModelProviderFailed
from kairos.llm.calls.provider import Feature
from kairos.llm.calls.provider_errors import ModelProtocolUnknown, UnknownProtocol
from kairos.llm.calls.providers import (
    BUILT_IN,
    ChatRequest,
    Completion,
    ModelAnswerInvalid,
    ModelCallError,
    ModelRateLimited,
    ModelRefused,
    ModelRequestInvalid,
    ModelServerError,
    ModelStreamCut,
    ModelTimeout,
    ModelUnreachable,
)
from kairos.llm.calls.served_context import ContextPoller, ModelContexts
from scripts import provider_table
from tests.kit.model_calls import HELLO, KEY
from tests.kit.provider_bench import SHORT, Bench, bench_of, plugins_loaded
from tests.kit.provider_kinds import KINDS, Script
from tests.kit.provider_proofs import PROOFS
from tests.kit.raw_model import Then

TEXT = "Hello, Ada ✓"


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(request.param, tmp_path) as made:
        yield made


def facts(answer: Completion) -> tuple[object, ...]:
    """Return everything of an answer except its times."""
    return answer.text, answer.reasoning, answer.tool_calls, answer.finish_reason, answer.usage, answer.thinking_blocks


async def supports(bench: Bench, feature: Feature, folder: Path) -> bool:
    """Whether the proof of a feature succeeds."""
    try:
        await (PROOFS[feature](bench, folder) if feature is Feature.ADAPTERS else PROOFS[feature](bench))
    except (AssertionError, KairosError):
        return False
    return True


@pytest.mark.parametrize("protocol", KINDS)
async def test_features_of_a_protocol_are_those_that_its_tests_prove(protocol: str, tmp_path: Path):
    """The table in the documentation shows the results. Write it with `python -m scripts.provider_table`."""
    async with bench_of(protocol, tmp_path) as bench:
        declared = bench.providers.provider(protocol).features
    proven = set()
    for feature in Feature:
        async with bench_of(protocol, tmp_path) as bench:
            if await supports(bench, feature, tmp_path):
                proven.add(feature)
    assert proven == declared
    assert provider_table.column(provider_table.PAGE.read_text(), protocol) == proven
    assert provider_table.PAGE.read_text() == provider_table.page(), "run: python -m scripts.provider_table"


def test_configuration_and_client_know_the_same_protocols():
    assert tuple(BUILT_IN) == PROTOCOLS


async def test_request_reaches_the_server_in_its_own_form(bench: Bench):
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Who are you?"},
    )
    bench.script()
    await bench.chat(ChatRequest(messages, temperature=0.5, max_tokens=77, stop=("END",)))
    seen = bench.seen
    assert (seen.key, seen.system, seen.texts) == (KEY, "Be brief.", ["Hi", "Hello", "Who are you?"])
    assert (seen.limit, seen.temperature, seen.stop) == (77, 0.5, ["END"])
    assert str(bench.server.last.headers).count(KEY) == 1
    assert KEY not in str(bench.server.last.body) + bench.server.last.path


async def test_streamed_answer_is_complete(bench: Bench):
    bench.script(Script(reasoning=("Why", "?"), reason="length"))
    answer = await bench.chat()
    assert (answer.text, answer.reasoning, answer.truncated) == (TEXT, "Why?", True)
    assert "".join(bench.deltas) == TEXT
    assert answer.first_token_s is not None


async def test_answer_in_one_piece_is_read(bench: Bench):
    script = Script(reasoning=("Why?",), calls=(("a", "f", {"x": [1]}), ("b", "g", {})), reason="tools")
    bench.server.reply(bench.kind.whole(script))
    whole = await bench.chat()
    bench.server.reply(*bench.kind.stream(script))
    await bench.chat()  # the first reply is sent once, the last one repeatedly
    streamed = await bench.chat()
    assert [call["function"]["name"] for call in whole.tool_calls] == ["f", "g"]
    assert (whole.text, whole.reasoning, whole.finish_reason) == (TEXT, "Why?", "tool_calls")
    assert (streamed.text, streamed.reasoning, streamed.usage) == (whole.text, whole.reasoning, whole.usage)


@pytest.mark.parametrize("size", [1, 7])
async def test_pieces_of_any_size_give_the_same_answer(bench: Bench, size: int):
    script = Script(texts=("Grüße, ", "👋🏽 世界"), reasoning=("ç",), calls=(("a", "f", {"x": "é"}),), reason="tools")
    stream = b"".join(bench.kind.stream(script))
    bench.server.reply(stream)
    expected = facts(await bench.chat())
    bench.server.reply(*(stream[place : place + size] for place in range(0, len(stream), size)))
    await bench.chat()
    assert facts(await bench.chat()) == expected
    assert expected[0] == "Grüße, 👋🏽 世界"


async def test_unknown_parts_of_a_stream_are_skipped(bench: Bench):
    pieces = [piece for real in bench.kind.stream(Script(reasoning=("Why?",))) for piece in (real, bench.kind.noise())]
    bench.server.reply(*pieces)
    assert (await bench.chat()).text == TEXT


async def test_empty_answer_is_an_answer(bench: Bench):
    bench.script(Script(texts=(), usage=(12, 0)))
    answer = await bench.chat()
    assert (answer.text, answer.finish_reason) == ("", "stop")


async def test_missing_usage_is_unknown(bench: Bench):
    bench.script(Script(usage=None))
    assert (await bench.chat()).usage is None


async def test_cancelling_closes_the_connection(bench: Bench):
    """So the server stops generating."""
    bench.server.reply(*bench.kind.stream(Script())[:-1], then=Then.HOLD)
    calling = asyncio.create_task(bench.chat())
    async with asyncio.timeout(30):
        while not bench.deltas:
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await bench.server.last.aborted.wait()


async def test_stopped_server_is_unreachable(bench: Bench):
    await bench.server.stop()
    error = await bench.failed(ModelUnreachable)
    assert error.infrastructure


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_stream_without_its_end_is_cut(bench: Bench, then: Then):
    pieces = bench.kind.stream(Script())
    last = max(place for place, piece in enumerate(pieces) if b"Ada" in piece)
    bench.server.reply(*pieces[: last + 1], then=then)
    error = await bench.failed(ModelStreamCut)
    assert (error.partial, error.infrastructure) == (TEXT, True)


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error"])
async def test_error_within_a_stream_keeps_the_text_before_it(bench: Bench, kind: str):
    pieces = bench.kind.stream(Script())
    last = max(place for place, piece in enumerate(pieces) if b"Ada" in piece)
    bench.server.reply(*pieces[: last + 1], bench.kind.error_piece("Overloaded", kind))
    error = await bench.failed(ModelCallError)
    assert (error.partial, error.infrastructure, error.retryable) == (TEXT, True, True)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", ModelRequestInvalid),
        (401, "authentication_error", ModelRefused),
        (403, "permission_error", ModelRefused),
        (404, "not_found_error", ModelRefused),
        (413, "request_too_large", ModelRequestInvalid),
        (429, "rate_limit_error", ModelRateLimited),
        (500, "api_error", ModelServerError),
        (503, "api_error", ModelServerError),
        (529, "overloaded_error", ModelOverloaded),
    ],
)
async def test_status_gives_the_kind_of_error(bench: Bench, status: int, kind: str, expected: type[ModelCallError]):
    body = bench.kind.error(f"no, {KEY} is not right", kind)
    bench.server.reply(str(body).replace("'", '"').encode(), status=status, headers={"Retry-After": "7"})
    error = await bench.failed(expected)
    assert type(error) is expected
    assert "no, *** is not right" in error.reason
    assert error.retry_after_s == 7


@pytest.mark.parametrize("body", [b"<html><body>Welcome</body></html>", b"", b"\x00\xff\xfe", b'"text"', b"[]", b"{}"])
async def test_anything_else_is_no_answer(bench: Bench, body: bytes):
    bench.server.reply(body, headers={"Content-Type": "text/html"})
    error = await bench.failed(ModelAnswerInvalid)
    assert "base_url" in str(error)


async def test_redirect_is_not_followed(bench: Bench):
    bench.server.reply(b"", status=302, headers={"Location": "http://127.0.0.1:9/steal"})
    assert "not followed" in str(await bench.failed(ModelRefused))
    assert len(bench.server.received) == 1


@pytest.mark.parametrize("protocol", KINDS)
async def test_silent_server_times_out_at_the_first_token(protocol: str, tmp_path: Path):
    """Keep-alives and unknown events are no token."""
    async with bench_of(protocol, tmp_path, SHORT) as bench:
        bench.server.reply(bench.kind.noise(), then=Then.HOLD)
        assert "the first token" in str(await bench.failed(ModelTimeout))


@pytest.mark.parametrize("protocol", KINDS)
async def test_stream_that_falls_silent_times_out(protocol: str, tmp_path: Path):
    async with bench_of(protocol, tmp_path, replace(SHORT, first_token_s=30)) as bench:
        pieces = bench.kind.stream(Script())
        last = max(place for place, piece in enumerate(pieces) if b"Ada" in piece)
        bench.server.reply(*pieces[: last + 1], then=Then.HOLD)
        error = await bench.failed(ModelTimeout)
        assert "the next token" in str(error)
        assert error.partial == TEXT


async def test_endless_answer_is_ended(bench: Bench):
    pieces = bench.kind.stream(Script())
    last = max(place for place, piece in enumerate(pieces) if b"Ada" in piece)
    bench.server.reply(*pieces[: last + 1], endless=True)
    assert "exceeds the limit of 20000 bytes" in str(await bench.failed(ModelAnswerInvalid))


async def test_endless_line_is_ended(bench: Bench):
    bench.server.reply(*bench.kind.stream(Script())[:1], b"data: " + b"x" * 1000, b"x" * 1000, endless=True)
    assert "exceeds the limit of 20000 bytes" in str(await bench.failed(ModelAnswerInvalid))


async def test_refused_parameter_is_left_out_from_then_on(bench: Bench):
    refusal = bench.kind.error("Unsupported parameter: 'seed' or 'top_p' is not supported", "invalid_request_error")
    bench.server.reply(str(refusal).replace("'seed' or 'top_p'", "top_p").replace("'", '"').encode(), status=400)
    bench.script()
    request = ChatRequest(HELLO.messages, extra={"top_p": 0.5})
    await bench.chat(request)
    await bench.chat(request)
    assert ["0.5" in str(received.body) for received in bench.server.received] == [True, False, False]


async def test_models_are_listed_by_name(bench: Bench):
    bench.server.documents = bench.kind.documents(["up", "other/one:2b"])
    listed = await bench.providers.list_models(bench.model.base_url, KEY, timeout_s=30, protocol=bench.kind.protocol)
    assert [model.name for model in listed] == ["up", "other/one:2b"]
    assert bench.kind.seen(bench.server.last.headers, {"messages": [], "options": {}, "max_tokens": 1}).key == KEY


@pytest.mark.parametrize("document", [{"error": "no"}, [], "text", 7, {"data": 7, "models": 7}])
async def test_invalid_list_of_models_is_an_error(bench: Bench, document: object):
    bench.server.documents = dict.fromkeys(bench.kind.documents(["up"]), document)
    with pytest.raises(HttpError) as caught:
        await bench.providers.list_models(bench.model.base_url, KEY, timeout_s=30, protocol=bench.kind.protocol)
    assert isinstance(caught.value, HttpGarbled) or bench.kind.protocol.startswith("plugin:")


async def test_error_of_a_list_hides_the_key(bench: Bench):
    bench.server.documents = dict.fromkeys(bench.kind.documents(["up"]), (401, bench.kind.error(f"{KEY} is not valid")))
    with pytest.raises(HttpStatus) as caught:
        await bench.providers.list_models(bench.model.base_url, KEY, timeout_s=30, protocol=bench.kind.protocol)
    assert "*** is not valid" in str(caught.value)
    assert KEY not in str(caught.value) + repr(caught.value.body)


async def test_list_of_three_thousand_models_is_read(bench: Bench):
    bench.server.documents = bench.kind.documents([f"m{number}" for number in range(3_000)])
    listed = await bench.providers.list_models(bench.model.base_url, KEY, timeout_s=30, protocol=bench.kind.protocol)
    assert len(listed) == 3_000


@pytest.mark.parametrize("protocol", ["ollama", "anthropic", "plugin:cohere"])
async def test_reported_context_limits_the_declared_one(protocol: str, tmp_path: Path):
    async with bench_of(protocol, tmp_path) as bench:
        bench.server.documents = bench.kind.documents(["up"])
        contexts = ModelContexts(bench.providers.traits)
        models = [replace(bench.model, context=context) for context in (4096, 100_000)]
        for model, context in zip(models, (4096, 32_768), strict=True):
            await ContextPoller(bench.providers, bench.http, contexts, lambda model=model: [model]).poll()
            assert contexts.of(model) == context


async def test_unknown_protocol_is_refused_with_the_known_ones(bench: Bench):
    with pytest.raises(ModelProtocolUnknown, match="Known protocols: openai, ollama, anthropic") as caught:
        await bench.chat(protocol="olama")
    assert "Did you mean 'ollama'?" in str(caught.value)
    with pytest.raises(UnknownProtocol):
        await bench.providers.list_models(bench.model.base_url, None, timeout_s=1, protocol="plugin:none")
    assert not bench.server.received


async def test_withdrawn_plugin_takes_its_protocol_along(tmp_path: Path):
    async with bench_of("plugin:cohere", tmp_path) as bench:
        bench.script()
        assert (await bench.chat()).text == TEXT
        async with plugins_loaded(bench.providers, bench.http, tmp_path / "none", None) as other:
            (tmp_path / "none").mkdir()
            await other.reload()
        with pytest.raises(ModelProtocolUnknown):
            await bench.chat()


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("def chat_request(self, model, body):", "raise RuntimeError('broken')"),
        ("def chat_request(self, model, body):", "return 'nothing'"),
        ("def parts(self, value):", "raise RuntimeError('broken')"),
        ("def parts(self, value):", "yield 7"),
    ],
)
async def test_fault_of_a_plugin_fails_the_call_with_a_typed_error(tmp_path: Path, method: str, code: str):
    async with bench_of("plugin:cohere", tmp_path) as bench:
        source = (tmp_path / "plugins" / "CohereProvider.py").read_text()
        assert method in source
        broken = tmp_path / "broken.py"
        broken.write_text(re.sub(rf"( +){re.escape(method)}\n", rf"\g<0>\1    {code}\n", source))
        async with plugins_loaded(bench.providers, bench.http, tmp_path / "other", None) as loader:
            (tmp_path / "other" / "plugins").mkdir(parents=True)
            (tmp_path / "other" / "plugins" / "broken.py").write_text(broken.read_text())
            await loader.reload()
            assert [entry.error for entry in loader.entries] == [None]
            bench.script()
            error = await bench.failed(ModelProviderFailed)
            assert "cohere" in str(error)
