"""How often the embedded model solves the first tasks of README and tutorial, and similar tasks.

Run: python -m benchmarks.small_model [--runs N]. The first tasks run N times, without the cache; the others once. Every
task has temperature 0 and at most two drafts, as by default.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kairos.cli.starting import SAMPLE
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess

LIBRARY = (
    "Summarize in one sentence: The city library will close for repairs from June 1 to June 20. Books can be returned"
    " at the town hall during this time."
)
REVIEWS = {
    "The battery died after one day and nobody answered my emails.": "negative",
    "Great product, I love it and use it every day.": "positive",
    "Terrible. It broke on the first day, and I want my money back.": "negative",
    "Wonderful staff and delicious food, we will come back.": "positive",
    "The food was cold and the waiter was rude.": "negative",
    "Fast delivery, and it works perfectly.": "positive",
    "Never again. The room was dirty and loud.": "negative",
    "The best headphones I have ever owned.": "positive",
    "It stopped working after a week.": "negative",
    "My children enjoy it a lot.": "positive",
}
SENTENCES = {
    "Maria Silva moved to Lisbon in 2019 to work as a nurse.": ("Maria Silva", "Lisbon", "2019"),
    "In 2021 John Baker opened a bakery in Leeds.": ("John Baker", "Leeds", "2021"),
    "Aylin Demir has lived in Ankara since 2015.": ("Aylin Demir", "Ankara", "2015"),
    "Peter Novak left Prague in 1998 and never came back.": ("Peter Novak", "Prague", "1998"),
    "Chen Wei was born in Shanghai in 1987.": ("Chen Wei", "Shanghai", "1987"),
}


def task(prompt: str, *require: str, **properties: Any) -> dict[str, Any]:
    """Return a task whose answer has these properties, if any, and contains these texts."""
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    checks = {"require": require, **({"schema": schema} if properties else {})}
    return {"prompt": prompt, "temperature": 0, "checks": checks}


def review(text: str, sentiment: str) -> dict[str, Any]:
    """Return a task that classifies a review."""
    prompt = f'Is this review positive or negative? "{text}"'
    return task(prompt, sentiment, sentiment={"enum": ["positive", "negative"]})


def sentence(text: str, require: tuple[str, ...]) -> dict[str, Any]:
    """Return a task that extracts a person, a city and a year."""
    kinds = {"person": {"type": "string"}, "city": {"type": "string"}, "year": {"type": "integer"}}
    return task(f"{text}\n\nExtract the person, the city and the year as JSON.", *require, **kinds)


FIRST = {
    "sample task": SAMPLE,
    "summary": task(LIBRARY, "library"),
    "review": review("Fast delivery, and it works perfectly.", "positive"),
    "rejected": review("The food was cold and the waiter was rude.", "negative"),
}
SETS = {
    "reviews": [review(text, sentiment) for text, sentiment in REVIEWS.items()],
    "sentences": [sentence(text, require) for text, require in SENTENCES.items()],
}


async def solved(daemon: DaemonProcess, body: Mapping[str, Any]) -> bool:
    """Run a task and return whether the guardian approved its answer."""
    submitted = await daemon.ask("POST", "/api/tasks", {**body, "cache": False})

    async def ended() -> str | None:
        state = (await daemon.ask("GET", f"/api/tasks/{submitted['id']}"))["state"]
        return None if state in ("queued", "running") else state

    return await eventually(ended, 60, "the task has ended") == "succeeded"


async def measure(folder: Path, runs: int) -> None:
    """Print the share of solved tasks."""
    daemon = await DaemonProcess(folder, {}).start()
    try:
        for name, body in FIRST.items():
            print(f"{name:<12}{sum([await solved(daemon, body) for _ in range(runs)]):3} of {runs} runs", flush=True)
        for name, bodies in SETS.items():
            print(
                f"{name:<12}{sum([await solved(daemon, body) for body in bodies]):3} of {len(bodies)} tasks", flush=True
            )
    finally:
        await daemon.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        asyncio.run(measure(Path(name), runs))


if __name__ == "__main__":
    main()
