"""Cost and accuracy of classifying task types.

python -m benchmarks.task_types

Accuracy and coverage are for the 160 prompts of 8 types in `tests/data/labelled_prompts.tsv`, and for 24 prompts of no
type. All were written for this table, and the thresholds were chosen on it, so expect less on other prompts.
"""

from __future__ import annotations

import asyncio
import csv
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import psutil

from kairos.llm.routing import centroids
from kairos.llm.routing.centroids import Centroid, Classifier, Guess
from kairos.llm.routing.embedder import Embedder, Vector
from kairos.llm.routing.task_types import READ_TOKENS

PROMPTS = Path(__file__).parents[1] / "tests" / "data" / "labelled_prompts.tsv"
NO_TYPE = "other"
SHOTS, DRAWS = (3, 5, 12, 19), 20
THRESHOLDS = ((-1.0, -1.0), (0.2, 0.0), (0.2, 0.06), (0.2, 0.1), (0.3, 0.06))


class Example(NamedTuple):
    task_type: str
    vector: Vector


class Trial(NamedTuple):
    """A prompt that was not used for training, with the guess about it."""

    task_type: str
    known: bool
    guess: Guess


async def main() -> None:
    embedder = Embedder(idle_s=0.2)
    with PROMPTS.open(encoding="utf-8") as lines:
        rows = [tuple(row) for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
    await _loading(embedder)
    examples = [Example(name, (await embedder.embed([prompt], READ_TOKENS))[0]) for name, prompt in rows]
    await _times(embedder, [prompt for _, prompt in rows])
    await _idle(embedder)
    _guessing(examples)
    _accuracy(examples)
    await embedder.close()


async def _loading(embedder: Embedder) -> None:
    before = _memory_mb()
    began = time.perf_counter()
    await embedder.embed(["the first text"])
    seconds = time.perf_counter() - began
    print(f"load, with the first text   {seconds:7.2f} s   {_memory_mb() - before:+7.0f} MB (PSS, from {before:.0f})")


async def _idle(embedder: Embedder) -> None:
    before = _memory_mb()
    while embedder.state.loaded:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)  # until the thread has released the memory
    print(f"dropped when idle                       {_memory_mb() - before:+7.0f} MB")
    began = time.perf_counter()
    await embedder.embed(["the first text after a pause"])
    print(f"load again                  {time.perf_counter() - began:7.2f} s")


async def _times(embedder: Embedder, prompts: list[str]) -> None:
    print(f"\n{'embed':28} {'p50 ms':>8} {'p99 ms':>8}")
    await _time(embedder, "the labelled prompts", [f"{text} " for text in prompts], READ_TOKENS)
    long = [f"{number} " + "many texts about things " * 200 for number in range(60)]
    for tokens in (READ_TOKENS, 128, 256):
        await _time(embedder, f"cut at {tokens} tokens", long, tokens)
    await _time(embedder, "a recent text", ["the first text"] * 1000, READ_TOKENS)


async def _time(embedder: Embedder, label: str, texts: list[str], tokens: int) -> None:
    times: list[float] = []
    for text in texts:
        began = time.perf_counter()
        await embedder.embed([text], tokens)
        times.append((time.perf_counter() - began) * 1e3)
    times.sort()
    print(f"{label:28} {times[len(times) // 2]:8.2f} {times[int(len(times) * 0.99)]:8.2f}", flush=True)


def _guessing(examples: list[Example]) -> None:
    """Time the comparison alone, which runs on the event loop: with the table's types, and with the maximum number of
    types."""
    print(f"\n{'compare':28} {'us':>8}")
    known = _centroids([e for e in examples if e.task_type != NO_TYPE])
    many = {f"{name} {n}": c for n in range(centroids.MAX_TYPES // len(known)) for name, c in known.items()}
    for types in (known, many):
        classifier, began = Classifier(types), time.perf_counter()
        for example in examples:
            classifier.guess(example.vector)
        print(f"{len(types):3} types {'':19} {(time.perf_counter() - began) / len(examples) * 1e6:8.0f}")


def _accuracy(examples: list[Example]) -> None:
    typed = [e for e in examples if e.task_type != NO_TYPE]
    others = [e for e in examples if e.task_type == NO_TYPE]
    names = sorted({e.task_type for e in typed})
    print(f"\n{'types known x examples':24}" + "".join(f"{f'cos {c:.2f} margin {m:.2f}':>22}" for c, m in THRESHOLDS))
    print(f"{'':24}" + f"{'right of taken  other':>22}" * len(THRESHOLDS))
    _print_row(f"{len(names)} x 19, leave one out", _leave_one_out(typed, others))
    for count in (2, 4, len(names)):
        for shots in SHOTS:
            trials: list[Trial] = []
            for draw in range(DRAWS):
                trials += _draw(typed, others, names, count, shots, random.Random(f"{count} {shots} {draw}"))
            _print_row(f"{count} x {shots}", trials)
    print(
        "right: share of the taken guesses; taken: share of prompts of known types; other: of prompts of no known type"
    )


def _leave_one_out(typed: list[Example], others: list[Example]) -> list[Trial]:
    trials = [Trial(e.task_type, False, Classifier(_centroids(typed)).guess(e.vector)) for e in others]
    for place, example in enumerate(typed):
        classifier = Classifier(_centroids(typed[:place] + typed[place + 1 :]))
        trials.append(Trial(example.task_type, True, classifier.guess(example.vector)))
    return trials


def _draw(
    typed: list[Example], others: list[Example], names: list[str], count: int, shots: int, draws: random.Random
) -> list[Trial]:
    """Train on some examples of some types, and classify all other prompts."""
    known = draws.sample(names, count)
    learned: list[Example] = []
    for name in known:
        learned += draws.sample([e for e in typed if e.task_type == name], shots)
    taught = set(map(id, learned))
    classifier = Classifier(_centroids(learned))
    rest = [e for e in typed if id(e) not in taught] + others
    return [Trial(e.task_type, e.task_type in known, classifier.guess(e.vector)) for e in rest]


def _print_row(label: str, trials: list[Trial]) -> None:
    cells = []
    for cosine, margin in THRESHOLDS:
        taken = [t for t in trials if t.guess.cosine >= cosine and t.guess.margin >= margin]
        known = [t for t in taken if t.known]
        right = sum(t.guess.name == t.task_type for t in known) / max(len(known), 1)
        coverage = len(known) / sum(t.known for t in trials)
        wrongly = (len(taken) - len(known)) / max(sum(not t.known for t in trials), 1)
        cells.append(f"{right:10.2f}{coverage:6.2f}{wrongly:6.2f}")
    print(f"{label:24}" + "".join(cells), flush=True)


def _centroids(examples: list[Example]) -> dict[str, Centroid]:
    """Build centroids. The minimum number of examples is bypassed, because the table measures its effect."""
    by_type: dict[str, list[Vector]] = defaultdict(list)
    for example in examples:
        by_type[example.task_type].append(example.vector)
    enough = float(centroids.MIN_EXAMPLES)
    made = {name: Centroid.of(vectors) for name, vectors in by_type.items()}
    return {n: c if c.count >= enough else _scaled(c, enough / c.count) for n, c in made.items()}


def _scaled(centroid: Centroid, factor: float) -> Centroid:
    """Return the same mean with the weight of more examples."""
    return Centroid(centroid.count * factor, [x * factor for x in centroid.sum])


def _memory_mb() -> float:
    return psutil.Process().memory_full_info().pss / 1e6


if __name__ == "__main__":
    asyncio.run(main())
