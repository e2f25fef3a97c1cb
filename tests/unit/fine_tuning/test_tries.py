"""A run tries again with a recipe that suits the shortfall, within its limits, and submits its best try to the gate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.gate.evaluation import NOT_COMPARED, GateOutcome, GateReport
from kairos.fine_tuning.gate.loss_test import Loss
from kairos.fine_tuning.training.process.job import TrainingSettings
from kairos.fine_tuning.tries.recipes import MOST_REPLAY, WIDEST, Recipe, Shortfall
from kairos.fine_tuning.tries.selection import RatedCandidate, Selection
from kairos.fine_tuning.tries.tries import Try, adapter_of, best_of, improve, next_recipe, shortfall_of
from tests.kit.lora_file import write_lora

RECIPE = Recipe(TrainingSettings(), 0.5)


def made(
    number: int = 1,
    shortfall: Shortfall | None = None,
    learned: float = 1.0,
    kept: float = 0.0,
    ruling: GateOutcome | None = None,
    recipe: Recipe = RECIPE,
) -> Try:
    chosen = RatedCandidate(80, 1.0, learned, kept)
    return Try(number, recipe, {"steps": 80}, {"torch": "2"}, Selection(chosen, (chosen,)), 100.0, shortfall, ruling)


def report(ruling: GateOutcome, learned: float, loss: Loss) -> GateReport:
    held_out = replace(NOT_COMPARED, candidate=learned)
    return GateReport(held_out, NOT_COMPARED, 0.05, ruling, "because", loss=loss)


def test_good_try_is_not_followed_by_another():
    assert next_recipe([made()], 3, 1000) is None


def test_forgetting_is_answered_by_more_replay_and_smaller_steps():
    recipe = next_recipe([made(shortfall=Shortfall.FORGOT)], 3, 1000)
    assert recipe
    assert recipe.replay_share > RECIPE.replay_share
    assert recipe.training.learning_rate < RECIPE.training.learning_rate


def test_learning_too_little_is_answered_by_more_passes_and_a_higher_rank():
    recipe = next_recipe([made(shortfall=Shortfall.LEARNED_TOO_LITTLE)], 3, 1000)
    assert recipe
    assert recipe.training.epochs > RECIPE.training.epochs
    assert recipe.training.rank > RECIPE.training.rank
    assert recipe.training.alpha / recipe.training.rank == RECIPE.training.alpha / RECIPE.training.rank


@given(st.lists(st.sampled_from(Shortfall), max_size=10))
def test_recipes_stay_within_bounds(shortfalls: list[Shortfall]):
    recipe = RECIPE
    for shortfall in shortfalls:
        recipe = recipe.after(shortfall)
    assert recipe.replay_share <= MOST_REPLAY
    assert recipe.training.rank <= WIDEST
    assert 0 < recipe.training.learning_rate <= 1e-3


@pytest.mark.parametrize(("most", "left_s"), [(1, 1000), (3, 149)], ids=["number", "time"])
def test_limits_end_the_tries(most: int, left_s: float):
    assert next_recipe([made(shortfall=Shortfall.FORGOT)], most, left_s) is None


def test_gate_gets_the_try_without_a_shortfall_or_the_one_that_learned_most():
    forgot, little = Shortfall.FORGOT, Shortfall.LEARNED_TOO_LITTLE
    assert best_of([made(1), made(2, forgot, kept=-0.1)]).number == 1
    assert best_of([made(1, little, learned=0.2), made(2, little, learned=0.6), made(3, little, 0.4)]).number == 2
    assert best_of([made(1, forgot, kept=-0.2), made(2, forgot, kept=-0.1)]).number == 2


def test_gate_gets_no_try_twice():
    refused = made(1, Shortfall.FORGOT, ruling=GateOutcome.REFUSE)
    assert best_of([refused, made(2, Shortfall.LEARNED_TOO_LITTLE, learned=0.1)]).number == 2


@pytest.mark.parametrize(
    ("found", "shortfall"),
    [
        (report(GateOutcome.PROMOTE, 0.9, Loss.NONE), None),
        (report(GateOutcome.PROMOTE, 0.5, Loss.NONE), None),
        (report(GateOutcome.REFUSE, 1.0, Loss.CERTAIN), Shortfall.FORGOT),
        (report(GateOutcome.NEEDS_APPROVAL, 0.3, Loss.NONE), Shortfall.LEARNED_TOO_LITTLE),
        (report(GateOutcome.NEEDS_APPROVAL, 1.0, Loss.UNCERTAIN), None),
    ],
)
def test_gate_finds_the_shortfall(found: GateReport, shortfall: Shortfall | None):
    assert shortfall_of(found) is shortfall
    assert made().ruled(found).shortfall is shortfall


@given(
    st.sampled_from([None, *Shortfall]),
    st.sampled_from([None, *GateOutcome]),
    st.floats(0, 1),
    st.floats(-1, 1),
)
def test_stored_try_is_read_back(shortfall, ruling, learned: float, kept: float):
    one = made(2, shortfall, learned, kept, ruling, RECIPE.after(Shortfall.FORGOT))
    stored = json.loads(json.dumps(one.stored()))
    assert Try.of(stored).stored() == one.stored() == {**stored, "selection": one.stored()["selection"]}


def test_adapter_has_the_files_of_the_candidate_at_its_strength(tmp_path: Path):
    candidate = tmp_path / "candidates" / "80"
    candidate.mkdir(parents=True)
    write_lora(candidate / "adapter.gguf", 1)
    (candidate / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16}))
    for strength, alpha in ((1.0, 16), (0.5, 8), (0.5, 8)):
        adapter = adapter_of(tmp_path, RatedCandidate(80, strength, 1.0))
        assert json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"] == alpha
    assert json.loads((candidate / "adapter_config.json").read_text())["lora_alpha"] == 16


class Run:
    """A run whose trainings and gate give these results in turn."""

    def __init__(self, shortfalls: list[Shortfall | None], reports: list[GateReport]) -> None:
        self._shortfalls = shortfalls
        self._reports = reports
        self.recipes: list[Recipe] = []
        self.evaluated: list[int] = []
        self.numbers: list[int] = []
        self.saved: list[Try] = []

    async def perform(self, number: int, recipe: Recipe) -> Try:
        self.recipes.append(recipe)
        return made(number, self._shortfalls.pop(0), recipe=recipe)

    async def evaluate(self, best: Try, number: int) -> GateReport:
        self.evaluated.append(best.number)
        self.numbers.append(number)
        return self._reports.pop(0)

    async def save(self, tries) -> None:
        self.saved = list(tries)

    async def improve(self, tries: list[Try] | None = None, most: int = 3) -> list[Try]:
        return await improve(tries or [], RECIPE, self.perform, self.evaluate, self.save, most=most, limit_s=1000)


PROMOTED = report(GateOutcome.PROMOTE, 1.0, Loss.NONE)
FORGOTTEN = report(GateOutcome.REFUSE, 1.0, Loss.CERTAIN)


async def test_good_try_is_evaluated_at_once():
    run = Run([None], [PROMOTED])
    (only,) = await run.improve()
    assert (only.ruling, run.recipes, run.evaluated) == (GateOutcome.PROMOTE, [RECIPE], [1])


async def test_shortfall_found_by_the_selection_is_not_submitted_to_the_gate():
    run = Run([Shortfall.FORGOT, None], [PROMOTED])
    first, second = await run.improve()
    assert (first.ruling, second.ruling, run.evaluated) == (None, GateOutcome.PROMOTE, [2])
    assert run.recipes == [RECIPE, RECIPE.after(Shortfall.FORGOT)]


async def test_shortfall_found_by_the_gate_leads_to_another_try():
    run = Run([None, None], [FORGOTTEN, PROMOTED])
    tries = await run.improve()
    assert [one.ruling for one in tries] == [GateOutcome.REFUSE, GateOutcome.PROMOTE]
    assert run.recipes[1] == RECIPE.after(Shortfall.FORGOT)
    assert run.saved == tries
    assert run.numbers == [1, 2]


async def test_best_of_the_tries_is_evaluated_when_none_is_good_enough():
    run = Run([Shortfall.FORGOT] * 3, [FORGOTTEN])
    tries = await run.improve()
    assert (len(tries), len(run.evaluated)) == (3, 1)


async def test_interrupted_run_continues_with_its_next_try():
    run = Run([None], [PROMOTED])
    tries = await run.improve([made(1, Shortfall.FORGOT)])
    assert [one.number for one in tries] == [1, 2]
    assert run.recipes == [RECIPE.after(Shortfall.FORGOT)]


async def test_run_that_was_interrupted_before_its_evaluation_trains_nothing():
    run = Run([], [PROMOTED])
    assert [one.ruling for one in await run.improve([made(1)])] == [GateOutcome.PROMOTE]
