"""In how many of many seeds the router assigns each kind of task to the right model, with one replica and with three.

Run: python -m benchmarks.learning_to_choose [--seeds 20] [--verbose]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from tests.kit.choosing import run_scenario
from tests.kit.engines import engines_for_tests


async def measure(folder: Path, seeds: int, verbose: bool) -> None:
    """Run every seed and print the number that passed."""
    async with engines_for_tests(folder) as found:
        schema.migrate(DatabaseAddresses(found.database_url, found.migration_url, found.system_url))
        for replicas in (1, 3):
            stories = [await run_scenario(found, seed, replicas) for seed in range(seeds)]
            held = sum(choices.learned for choices in stories)
            print(f"{replicas} replicas: passed with {held} of {seeds} seeds (required: 19 of 20)")
            for choices in stories:
                if verbose or not choices.learned:
                    print(choices.table())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name), given.seeds, given.verbose))


if __name__ == "__main__":
    main()
