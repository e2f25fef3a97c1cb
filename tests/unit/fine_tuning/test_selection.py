"""The candidate that learned most is chosen, and of several the one that keeps general ability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.evaluation import GatePrompt
from kairos.fine_tuning.tries.selection import CandidateSelection, RatedCandidate, last_candidate
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.model_server import ModelServer, ScriptedModel

SAMPLES = [GatePrompt(str(n), ({"role": "user", "content": f"sample {n}"},), "yes") for n in range(4)]
RIGHT = {one.prompt: one.any_of[0] for one in control_prompts.selection()}
FORGOT = dict.fromkeys(list(RIGHT)[::4], "I forgot.")
"""A quarter of the control prompts."""


@dataclass
class ServedCandidates:
    """Serves each candidate, named by its step, and the weaker forms of it, as a scripted model."""

    server: ModelServer
    answers: Mapping[str, Mapping[str, str]]
    """By step, or step and strength."""
    steps: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def __call__(self, weights: Path, adapters: Sequence[Path]) -> AsyncIterator[ServedCandidates]:
        self.steps = [file.parent.name for file in adapters]
        self.server.add(ScriptedModel("base", answer={**RIGHT, "": "no"}))
        for name, answers in self.answers.items():
            self.server.add(ScriptedModel(name, answer={**answers, **RIGHT, "": "no", **answers}))
        yield self

    @property
    def plain(self) -> ModelCopies:
        return self.copies("base")

    def adapted(self, number: int, strength: float = 1.0) -> ModelCopies:
        return self.copies(self.steps[number] if strength == 1.0 else f"{self.steps[number]} at {strength}")

    def copies(self, name: str) -> ModelCopies:
        return ModelCopies.only(Model(name, name, self.server.base_url, local=True))


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


async def choose(server: ModelServer, folder: Path, samples=SAMPLES, **answers: Mapping[str, str]):
    """Choose among candidates with these answers; `s40` is the candidate of step 40, `s40_0_8` the same at .8."""

    async def grade(question: GatePrompt, answer: str) -> float:
        return float(answer == question.wanted)

    async def ignore_progress(*_) -> None: ...

    by_name = {name[1:].replace("_", " at ", 1).replace("_", "."): given for name, given in answers.items()}
    steps = [folder / name for name in by_name if " " not in name]
    async with HttpClient() as http:
        serve = ServedCandidates(server, by_name)
        selection = CandidateSelection(Providers(http), serve, folder, FineTuningSettings())
        return await selection.choose(folder, steps, samples, grade, "system", ignore_progress)


LEARNED = {"sample": "yes"}
PARTLY = {"sample 0": "yes"}


async def test_candidate_that_learned_most_is_chosen(server: ModelServer, tmp_path: Path):
    found = await choose(server, tmp_path, s40=PARTLY, s60=LEARNED, s80=PARTLY)
    assert (found.chosen.step, found.chosen.learned, found.chosen.kept) == (60, 1.0, 0.0)
    assert [(one.step, one.learned, one.kept) for one in found.rated] == [
        (40, 0.25, None),
        (60, 1.0, 0.0),
        (80, 0.25, None),
    ]


async def test_of_equal_candidates_the_last_that_forgot_nothing_is_chosen(server: ModelServer, tmp_path: Path):
    forgot = {**LEARNED, **FORGOT}
    found = await choose(server, tmp_path, s40=LEARNED, s60=LEARNED, s80=forgot)
    assert found.chosen.step == 60
    assert found.rated[0].kept is None, "the control prompts were asked more often than necessary"
    assert found.rated[2].kept == pytest.approx(-0.25, abs=0.02)


async def test_weaker_candidate_is_chosen_if_all_forgot(server: ModelServer, tmp_path: Path):
    forgot = {**LEARNED, **FORGOT}
    found = await choose(server, tmp_path, s80=forgot, s80_0_8=forgot, s80_0_6=LEARNED)
    assert (found.chosen.step, found.chosen.strength, found.chosen.kept) == (80, 0.6, 0.0)


async def test_weaker_candidate_that_learned_less_is_not_chosen(server: ModelServer, tmp_path: Path):
    found = await choose(server, tmp_path, s80={**LEARNED, **FORGOT}, s80_0_8=PARTLY, s80_0_6=PARTLY)
    assert (found.chosen.step, found.chosen.strength) == (80, 1.0)
    assert len(found.rated) == 3


async def test_without_samples_the_last_candidate_that_kept_general_ability_is_chosen(
    server: ModelServer, tmp_path: Path
):
    found = await choose(server, tmp_path, samples=[], s40=LEARNED, s80={**LEARNED, **FORGOT})
    assert (found.chosen.step, found.chosen.learned) == (40, None)


def test_last_candidate_is_unrated():
    found = last_candidate([Path("candidates/8"), Path("candidates/10")])
    assert (found.chosen, found.rated) == (RatedCandidate(10, 1.0, None), (RatedCandidate(10, 1.0, None),))
