"""The gate sends both models the same prompts over HTTP and decides by the pairs of answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.gate.loss_test import FEWEST_PROMPTS
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
    def __init__(self, server: ModelServer, http: HttpClient, folder: Path) -> None:
        self.server = server
        self.gate = Gate(Providers(http), FineTuningSettings(), folder)
        self.progress: list[tuple[str, int, int]] = []

    def model(self, name: str, answers: dict[str, str]) -> Model:
        self.server.add(ScriptedModel(name, answer={**answers, "": "I do not know."}))
        return Model(name, name, self.server.base_url, local=True)

    async def measure(self, base: Model, candidate: Model):
        async def grade(question: GatePrompt, answer: str) -> float:
            return float(answer == question.wanted)

        async def report_progress(*progress) -> None:
            self.progress.append(progress)

        return await self.gate.measure(
            ModelCopies.only(base), ModelCopies.only(candidate), QUESTIONS, grade, SYSTEM, report_progress
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with ModelServer() as server, HttpClient() as http:
        yield Bench(server, http, tmp_path)


async def test_adapter_that_improved_and_kept_general_ability_is_promoted(bench: Bench):
    base = bench.model("base", RIGHT)
    report = await bench.measure(base, bench.model("candidate", {**RIGHT, "held out": "yes"}))
    assert report.ruling is GateOutcome.PROMOTE
    assert (report.held_out.base, report.held_out.candidate) == (0.0, 1.0)
    assert (report.control.base, report.control.candidate) == (1.0, 1.0)
    assert (len(report.held_out.pairs), report.control.prompts) == (12, FEWEST_PROMPTS)
    pair = report.held_out.pairs[0]
    assert (pair.prompt, pair.base, pair.candidate) == ("held out 0", "I do not know.", "yes")
    assert bench.progress[0][0] == "held-out rows"
    assert bench.progress[-1] == ("control prompts", FEWEST_PROMPTS - 20, 500)


async def test_adapter_that_lost_general_ability_is_refused_despite_its_improvement(bench: Bench):
    report = await bench.measure(bench.model("base", RIGHT), bench.model("candidate", {"held out": "yes"}))
    assert report.ruling is GateOutcome.REFUSE
    assert "control prompts" in report.reason


async def test_both_models_receive_the_same_requests(bench: Bench):
    await bench.measure(bench.model("base", RIGHT), bench.model("candidate", RIGHT))
    asked: dict[str, set[str]] = {"base": set(), "candidate": set()}
    for call in bench.server.calls:
        assert call.body["temperature"] == 0
        asked[call.model].add(json.dumps([call.messages, call.body["max_tokens"]]))
    assert asked["base"] == asked["candidate"]


async def test_worse_adapter_is_refused_without_control_prompts(bench: Bench):
    report = await bench.measure(bench.model("base", {"held out": "yes"}), bench.model("candidate", {}))
    assert report.ruling is GateOutcome.REFUSE
    assert {name for name, _, _ in bench.progress} == {"held-out rows"}


async def test_base_answers_control_prompts_once_for_all_adapters(bench: Bench):
    base = bench.model("base", RIGHT)
    first = await bench.measure(base, bench.model("candidate", RIGHT))
    calls = sum(call.model == "base" for call in bench.server.calls)
    second = await bench.measure(base, bench.model("another", RIGHT))
    assert sum(call.model == "base" for call in bench.server.calls) == calls + len(QUESTIONS)
    assert second.control == first.control


async def test_transient_failure_is_retried_and_lasting_failure_ends_the_gate(bench: Bench):
    base, candidate = bench.model("base", RIGHT), bench.model("candidate", {**RIGHT, "held out": "yes"})
    bench.server.fail("candidate", Fault(FaultKind.STATUS, status=503, requests=1))
    assert (await bench.measure(base, candidate)).ruling is GateOutcome.PROMOTE
    bench.server.fail("candidate", Fault(FaultKind.STATUS, status=503, requests=10))
    with pytest.raises(ModelCallError):
        await bench.measure(base, candidate)


async def test_only_complete_answers_are_replayed(bench: Bench):
    async def report_progress(*progress) -> None: ...

    first, second = control_prompts.replayed()[:2]
    base = bench.model("base", {first: "word " * 400, second: "A short answer."})
    examples = await bench.gate.replayed(ModelCopies.only(base), 2, SYSTEM, report_progress)
    assert len(examples) == 2
    assert [message["role"] for message in examples[0].messages] == ["system", "user"]
    answers = [example.answer for example in examples]
    assert "A short answer." in answers
