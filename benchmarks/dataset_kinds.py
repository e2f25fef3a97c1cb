"""Kinds of samples by the similarity of their prompts, near-duplicates, and the cost of a review.

python -m benchmarks.dataset_kinds

The prompts were written for this table and the threshold was chosen on it, so expect less on others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import combinations, product
from operator import mul
from statistics import fmean
from uuid import UUID

from kairos.fine_tuning.dataset import kinds
from kairos.fine_tuning.dataset.kinds import kinds_by_prompt, prompts_to_embed
from kairos.fine_tuning.dataset.review import MAX_EMBEDDED, MAX_REVIEWED, DatasetReviewer
from kairos.fine_tuning.dataset.sample_keys import normal
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.llm.calls.prompt_size import SMALL
from kairos.llm.routing.embedder import Embedder, Vector
from kairos.llm.routing.task_types import READ_TOKENS

THINGS = ("kettle", "lamp", "chair", "bucket", "door", "carpet", "bottle", "mirror")
VERBS = ("clean", "heat", "paint", "weigh") * 2
NAMES = (
    "Ada Moreno",
    "Ben Okafor",
    "Chloe Dubois",
    "Deniz Kaya",
    "Emil Berg",
    "Farah Aziz",
    "Goran Petrov",
    "Hana Sato",
)
DATES = (
    "3 May 2024",
    "12 June 2023",
    "1 January 2020",
    "24 December 2021",
    "7 March 2019",
    "30 August 2022",
    "9 July 2025",
)
FEATURES = ("Search", "Billing", "Sign-in", "Export", "Webhooks", "Alerts", "Invoices", "API keys")
CITIES = ("Ankara", "Lyon", "Osaka", "Lima", "Oslo", "Cairo", "Perth", "Quito")
TICKETS = (
    "The printer on floor two is jammed",
    "My invoice shows the wrong amount",
    "I cannot sign in since the update",
    "The app crashes when I upload a photo",
    "Please cancel my subscription",
    "The delivery never arrived",
    "Refund the second charge",
    "The page is blank in Safari",
)
SENTENCES = (
    "We are happy to inform you that your order shipped",
    "The meeting got moved to Friday",
    "You have to restart the server",
    "Our new office opens next month",
    "The results came in better than expected",
    "Nobody responded to the survey",
    "It is important to note that tests failed",
    "Please be advised of the downtime",
)
QUESTIONS = (
    "How do I reset my password?",
    "Why was my card declined twice?",
    "Do you ship to Norway?",
    "Where can I see my invoices?",
    "Can I change the delivery address after ordering?",
    "What are the opening hours of the shop?",
    "My parcel is damaged, what now?",
    "How long is the warranty?",
)
RULES: dict[str, Sequence[str]] = {
    "made-up API": [f"Write the Vex call to {verb} the {thing}." for verb, thing in zip(VERBS, THINGS, strict=True)],
    "format": [f"{feature}: draft the release note." for feature in FEATURES],
    "extraction": [
        f"Extract the name and the date: {name} joined the team on {day}."
        for name, day in zip(NAMES, DATES, strict=False)
    ],
    "classification": [f"Classify this ticket: {ticket}" for ticket in TICKETS],
    "tool call": [f"Call the tool for the weather in {city} tomorrow." for city in CITIES],
    "unit": [f"Convert {amount} miles to our house units." for amount in (12, 250, 37, 480, 91, 66, 1500, 8)],
    "refusal": [f"A customer asks for a discount on the {thing}. Reply." for thing in THINGS],
    "house style": [f"Rewrite in house style: {sentence}" for sentence in SENTENCES],
    "Turkish": [f"{city} için yarınki hava durumunu yaz." for city in CITIES],
}
PARAPHRASES = (
    ("How do I reset my password?", "How can I reset the password?"),
    ("Write the Vex call to paint the lamp.", "Give me the Vex call that paints the lamp."),
    ("Convert 37 miles to our house units.", "How much are 37 miles in our house units?"),
    ("Classify this ticket: Refund the second charge", "Which class has the ticket: Refund the second charge"),
    ("Which city is the capital of Norway?", "What is Norway's capital?"),
    ("Search: draft the release note.", "Draft the release note of Search."),
)
"""Pairs of prompts that should have the same answer."""


async def main() -> None:
    embedder = Embedder()
    vectors = {
        name: await embedder.embed([normal(text) for text in texts], READ_TOKENS) for name, texts in RULES.items()
    }
    _similarities(vectors)
    await _found_kinds(embedder)
    await _near_duplicates(embedder, vectors)
    await _cost(embedder)
    await embedder.close()


def _similarities(vectors: dict[str, list[Vector]]) -> None:
    print(f"{'mean cosine':16} {'within':>7} {'to the nearest rule':>20}")
    for name, own in vectors.items():
        within = fmean(_cosine(*pair) for pair in combinations(own, 2))
        nearest = max(
            fmean(_cosine(*pair) for pair in product(own, vectors[other])) for other in vectors if other != name
        )
        print(f"{name:16} {within:7.2f} {nearest:20.2f}")


async def _found_kinds(embedder: Embedder) -> None:
    texts = [text for group in (*RULES.values(), QUESTIONS) for text in group]
    rows = [_row(number, text) for number, text in enumerate(texts)]
    prompts = prompts_to_embed(rows, len(rows))
    known = dict(zip(prompts, await embedder.embed(prompts, READ_TOKENS), strict=True))
    found = kinds_by_prompt(rows, frozenset(), known)
    print(f"\nkinds found among {len(rows)} prompts of {len(RULES)} rules and {len(QUESTIONS)} unrelated questions, ")
    print(f"from a mean cosine of {kinds.MIN_COSINE}:")
    for kind in found:
        print(f"{kind.rows:4}  {kind.prompt or 'others'}")


async def _near_duplicates(embedder: Embedder, vectors: dict[str, list[Vector]]) -> None:
    """Compare paraphrases, whose answers should agree, with prompts of one rule, whose answers differ."""
    pairs = [await embedder.embed([normal(text) for text in pair], READ_TOKENS) for pair in PARAPHRASES]
    same = sorted(_cosine(*pair) for pair in pairs)
    different = sorted(max(_cosine(*pair) for pair in combinations(own, 2)) for own in vectors.values())
    print(f"\nparaphrases: cosines {same[0]:.2f} to {same[-1]:.2f}")
    print(f"most similar prompts of one rule, with different answers: {different[0]:.2f} to {different[-1]:.2f}")


async def _cost(embedder: Embedder) -> None:
    reviewer = DatasetReviewer(embedder)
    print(f"\n{'review of samples':20} {'wall s':>7} {'CPU s':>7}")
    for amount in (100, MAX_EMBEDDED, MAX_REVIEWED):
        rows = [
            _row(number, f"Request {number}: {SENTENCES[number % 8]}, {number * 7919}.") for number in range(amount)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        await reviewer.review(rows, 0.2, 1024, SMALL)
        print(f"{amount:20,} {time.perf_counter() - began:7.2f} {time.process_time() - cpu:7.2f}")


def _row(number: int, prompt: str) -> ApprovedSample:
    return ApprovedSample(UUID(int=number), 1, None, None, ({"role": "user", "content": prompt},), f"answer {number}")


def _cosine(one: Vector, other: Vector) -> float:
    return sum(map(mul, one, other))


if __name__ == "__main__":
    asyncio.run(main())
