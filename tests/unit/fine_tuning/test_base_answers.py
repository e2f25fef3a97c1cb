"""The base's answers are kept per base and request, and survive damage of their file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kairos.fine_tuning.gate import base_answers
from kairos.fine_tuning.gate.base_answers import BaseAnswer, BaseAnswers, identity_of
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import AdapterHost, Model


class Base:
    """Counts its answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self) -> BaseAnswer:
        self.asked += 1
        return BaseAnswer(f"answer {self.asked}", "stop")


def request(prompt: str = "Say hello.", **settings) -> ChatRequest:
    values = {"temperature": 0.0, "max_tokens": 40, **settings}
    return ChatRequest(messages=({"role": "user", "content": prompt},), **values)


async def test_answer_is_asked_once_also_by_another_replica(tmp_path: Path):
    base = Base()
    first = await BaseAnswers(tmp_path, "base").get(request(), base.answer)
    assert await BaseAnswers(tmp_path, "base").get(request(), base.answer) == first == BaseAnswer("answer 1", "stop")
    assert base.asked == 1


async def test_other_bases_prompts_and_settings_have_answers_of_their_own(tmp_path: Path):
    base = Base()
    answers = BaseAnswers(tmp_path, "base")
    requests = [request(), request("Say goodbye."), request(temperature=0.7), request(seed=1), request(max_tokens=8)]
    found = [await answers.get(one, base.answer) for one in requests]
    found.append(await BaseAnswers(tmp_path, "another").get(request(), base.answer))
    assert len(set(found)) == len(requests) + 1


async def test_damaged_lines_are_ignored(tmp_path: Path):
    base = Base()
    await BaseAnswers(tmp_path, "base").get(request(), base.answer)
    await BaseAnswers(tmp_path, "base").get(request("Say goodbye."), base.answer)
    (file,) = (tmp_path / base_answers.FOLDER).iterdir()
    first, second = filter(None, file.read_bytes().splitlines())
    file.write_bytes(first + b"\n[]\n\xff{\n" + second[: len(second) // 2])
    answers = BaseAnswers(tmp_path, "base")
    assert (await answers.get(request(), base.answer)).text == "answer 1"
    assert (await answers.get(request("Say goodbye."), base.answer)).text == "answer 3"
    assert (await BaseAnswers(tmp_path, "base").get(request("Say goodbye."), base.answer)).text == "answer 3"


async def test_old_answers_are_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = Base()
    await BaseAnswers(tmp_path, "base").get(request(), base.answer)
    monkeypatch.setattr(base_answers, "FRESH_S", -1.0)
    assert (await BaseAnswers(tmp_path, "base").get(request(), base.answer)).text == "answer 2"


async def test_full_file_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(base_answers, "MOST_BYTES", 150)
    base, answers = Base(), BaseAnswers(tmp_path, "base")
    for number in range(20):
        await answers.get(request(f"Question {number}"), base.answer)
    (file,) = (tmp_path / base_answers.FOLDER).iterdir()
    assert file.stat().st_size < 400
    assert file.stat().st_mode & 0o077 == 0


async def test_folder_that_is_a_file_costs_only_the_memory(tmp_path: Path):
    (tmp_path / base_answers.FOLDER).touch()
    base = Base()
    answers = BaseAnswers(tmp_path, "base")
    assert await answers.get(request(), base.answer) == await answers.get(request(), base.answer)
    assert base.asked == 1


def test_base_is_identified_by_weights_and_server(tmp_path: Path):
    weights, others = tmp_path / "a.gguf", tmp_path / "b.gguf"
    weights.write_bytes(b"a")
    others.write_bytes(b"bc")

    def model(url: str, file: Path, host: AdapterHost | None = None) -> Model:
        return Model("base", "base", url, weights=str(file), adapter_host=host)

    assert identity_of(model("http://a/v1", weights)) == identity_of(model("http://a/v1", weights))
    assert identity_of(model("http://a/v1", weights)) != identity_of(model("http://b/v1", weights))
    assert identity_of(model("http://a/v1", weights)) != identity_of(model("http://a/v1", others))
    embedded = AdapterHost.EMBEDDED
    assert identity_of(model("http://a:1/v1", weights, embedded)) == identity_of(
        model("http://a:2/v1", weights, embedded)
    )
    weights.write_bytes(b"changed")
    assert identity_of(model("http://a:1/v1", weights, embedded)) != identity_of(
        model("http://a:1/v1", others, embedded)
    )


async def test_concurrent_first_requests_read_the_file_once(tmp_path: Path):
    base, answers = Base(), BaseAnswers(tmp_path, "base")
    requests = [request(f"Question {number}") for number in range(20)]
    await asyncio.gather(*(answers.get(one, base.answer) for one in requests))
    for one in requests:
        await answers.get(one, base.answer)
    assert base.asked == len(requests)
