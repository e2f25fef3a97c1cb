"""The gate asks both models as they are served, over HTTP, the same questions, and rules on the pairs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kairos.config import FineTuningSettings
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt
from kairos.fine_tuning.gate.gate import Gate
from kairos.http import HttpClient
from kairos.llm.calls.providers import ModelCallError, Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel

SYSTEM = "the system's words"
RIGHT = {one.prompt: one.any_of[0] for one in control_prompts.control()}
QUESTIONS = [
    GatePrompt(str(n), ({"role": "system", "content": SYSTEM}, {"role": "user", "content": f"held out {n}"}), "yes")
    for n in range(12)
]


class Bench:
    def __init__(self, server: ModelServer, http: HttpClient) -> None:
        self.server = server
        self.gate = Gate(Providers(http), FineTuningSettings(control_prompts=20))
        self.told: list[tuple[str, int, int]] = []

    def model(self, name: str, answers: dict[str, str]) -> Model:
        self.server.add(ScriptedModel(name, answer={**answers, "": "I do not know."}))
        return Model(name, name, self.server.base_url, local=True)

    async def measure(self, base: Model, candidate: Model):
        async def grade(question: GatePrompt, answer: str) -> float:
            return float(answer == question.wanted)

        async def heard(*told) -> None:
            self.told.append(told)

        return await self.gate.measure(base, candidate, QUESTIONS, grade, SYSTEM, heard)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with ModelServer() as server, HttpClient() as http:
        yield Bench(server, http)


async def test_better_at_what_it_learned_and_as_good_elsewhere_is_promoted(bench: Bench):
    base = bench.model("base", RIGHT)
    report = await bench.measure(base, bench.model("candidate", {**RIGHT, "held out": "yes"}))
    assert report.ruling is GateOutcome.PROMOTE
    assert (report.held_out.base, report.held_out.candidate) == (0.0, 1.0)
    assert (report.control.base, report.control.candidate) == (1.0, 1.0)
    assert (len(report.held_out.pairs), len(report.control.pairs)) == (12, 20)
    pair = report.held_out.pairs[0]
    assert (pair.prompt, pair.base, pair.candidate) == ("held out 0", "I do not know.", "yes")
    assert bench.told[-1] == ("control prompts", 19, 20)


async def test_what_forgot_the_rest_is_refused_however_much_it_learned(bench: Bench):
    report = await bench.measure(bench.model("base", RIGHT), bench.model("candidate", {"held out": "yes"}))
    assert report.ruling is GateOutcome.REFUSE
    assert "control prompts" in report.reason


async def test_both_are_asked_the_same_at_temperature_0_with_the_systems_words(bench: Bench):
    await bench.measure(bench.model("base", RIGHT), bench.model("candidate", RIGHT))
    asked: dict[str, list] = {"base": [], "candidate": []}
    for call in bench.server.calls:
        assert call.body["temperature"] == 0
        asked[call.model].append([message["content"] for message in call.messages])
    assert asked["base"] == asked["candidate"]
    assert all(words[0] == SYSTEM for words in asked["base"])


async def test_a_model_that_stumbles_is_asked_again_and_one_that_is_gone_ends_the_gate(bench: Bench):
    base, candidate = bench.model("base", RIGHT), bench.model("candidate", {**RIGHT, "held out": "yes"})
    bench.server.fail("candidate", Fault(FaultKind.STATUS, status=503, requests=1))
    assert (await bench.measure(base, candidate)).ruling is GateOutcome.PROMOTE
    bench.server.fail("candidate", Fault(FaultKind.STATUS, status=503, requests=10))
    with pytest.raises(ModelCallError):
        await bench.measure(base, candidate)


async def test_only_answers_that_came_to_their_end_are_replayed(bench: Bench):
    async def heard(*told) -> None: ...

    first, second = control_prompts.replayed()[:2]
    base = bench.model("base", {first: "word " * 400, second: "A short answer."})
    examples = await bench.gate.replayed(base, 2, SYSTEM, heard)
    assert len(examples) == 2
    assert [message["role"] for message in examples[0].messages] == ["system", "user"]
    answers = [example.answer for example in examples]
    assert "A short answer." in answers
