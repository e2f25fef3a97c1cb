"""R1.1.9: the router comes to prefer the local, fast model for simple code and the strong one for analysis.

Nothing in Kairos maps a kind of work to a model: it learns from quality, speed and cost. The servers speak
real HTTP; code is measured by tests given with the task, analysis by a judge model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kairos.embedded import Addresses
from tests.kit.choosing import Choices, run_scenario


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_it_learns_from_quality_speed_and_cost(addresses: Addresses, seed: int):
    choices = await run_scenario(addresses, seed, replicas=1)
    assert choices.learned, choices.table()
    assert choices.moved(), "the scores moved while it learned"


@pytest.mark.timeout(120)
async def test_three_replicas_learn_together(addresses: Addresses):
    """Each task goes to another replica, and each knows what the others learned."""
    choices: Choices = await run_scenario(addresses, 3, replicas=3)
    assert choices.learned, choices.table()


def test_no_code_maps_a_kind_of_work_to_a_model():
    """The words of this story stand nowhere in the product."""
    source = Path(__file__).parents[2] / "src" / "kairos"
    for file in source.rglob("*.py"):
        for word in ("simple code", "complex analysis", "simple_code", "complex_analysis"):
            assert word not in file.read_text(), f"{file} speaks of {word}"
