"""R1.1.9: the router learns to prefer the local, fast model for simple code and the strong one for analysis.

Nothing in Kairos maps a task type to a model: the router learns from quality, speed and cost. The model servers use
real HTTP. The quality of code comes from tests supplied with the task, that of analyses from a judge.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kairos.embedded import Addresses
from tests.kit.choosing import Choices, run_scenario


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_router_learns_from_quality_speed_and_cost(addresses: Addresses, seed: int):
    choices = await run_scenario(addresses, seed, replicas=1)
    assert choices.learned, choices.table()
    assert choices.scores_changed(), "the scores changed during the runs"


@pytest.mark.timeout(120)
async def test_three_replicas_learn_together(addresses: Addresses):
    """The tasks go to the replicas in turn, and each replica uses the statistics of all."""
    choices: Choices = await run_scenario(addresses, 3, replicas=3)
    assert choices.learned, choices.table()


def test_no_code_maps_a_task_type_to_a_model():
    """The task types of this scenario do not occur in the source."""
    source = Path(__file__).parents[2] / "src" / "kairos"
    for file in source.rglob("*.py"):
        for name in ("simple code", "complex analysis", "simple_code", "complex_analysis"):
            assert name not in file.read_text(), f"{file} mentions {name}"
