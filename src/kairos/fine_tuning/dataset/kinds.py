"""Kinds of samples: task types, and within them clusters of prompts by their vectors.

The clusters are those of average linkage: the two with the highest mean cosine are merged, as long as it is at least
`MIN_COSINE`. On prompts of nine invented rules (`benchmarks/dataset_kinds.py`), the mean cosine of prompts of one rule
is .40 to .94, and of two rules at most .22.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from kairos.fine_tuning.dataset.sample_keys import excerpt, normal, prompt_text
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.llm.routing.embedder import Vector

MIN_COSINE = 0.31
MIN_PROMPTS = 3
"""Different prompts of a kind. Smaller clusters of a task type are one kind together."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Samples that teach the same thing, as far as their prompts show."""

    task_type: str | None
    prompt: str | None
    """Excerpt of the most central prompt; None if the prompts of this kind have nothing in common."""
    rows: int
    training: int
    """Those of the rows that are not held out."""
    ids: tuple[UUID, ...]


def prompts_to_embed(rows: Sequence[ApprovedSample], most: int) -> list[str]:
    """Return the different prompts, ordered by a hash, and at most `most` of them: a random sample that stays the
    same."""
    prompts = {normal(text) for row in rows if (text := prompt_text(row))}
    return sorted(prompts, key=lambda prompt: blake2b(prompt.encode()).digest())[:most]


def kinds_by_type(rows: Sequence[ApprovedSample], training: frozenset[UUID]) -> tuple[Kind, ...]:
    """Return one kind for each task type, the largest first."""
    return _ordered(_kind(name, None, group, training) for name, group in _by_type(rows).items())


def kinds_by_prompt(
    rows: Sequence[ApprovedSample], training: frozenset[UUID], vectors: Mapping[str, Vector]
) -> tuple[Kind, ...]:
    """Return the clusters of each task type, the largest first.

    `vectors` are those of the prompts from `prompts_to_embed`. Rows with other prompts are left out.
    """
    found: list[Kind] = []
    for name, group in _by_type(rows).items():
        by_prompt: dict[str, list[ApprovedSample]] = defaultdict(list)
        for row in group:
            by_prompt[normal(prompt_text(row))].append(row)
        found += _kinds_of_type(name, by_prompt, training, vectors)
    return _ordered(found)


def spread(kinds: Sequence[Kind], most: int) -> list[UUID]:
    """Return at most `most` ids, taken from all kinds in turn."""
    piles = [sorted(kind.ids, key=lambda one: blake2b(one.bytes).digest()) for kind in kinds]
    longest = max(map(len, piles), default=0)
    turns = [pile[place] for place in range(longest) for pile in piles if place < len(pile)]
    return turns[:most]


def _kinds_of_type(
    name: str | None,
    by_prompt: Mapping[str, Sequence[ApprovedSample]],
    training: frozenset[UUID],
    vectors: Mapping[str, Vector],
) -> list[Kind]:
    prompts = sorted(prompt for prompt in by_prompt if prompt in vectors)
    own = [vectors[prompt] for prompt in prompts]
    clusters = _clusters(own)
    kinds: list[Kind] = []
    rest: list[ApprovedSample] = [*by_prompt.get("", ())]
    for cluster in clusters:
        rows = [row for place in cluster for row in by_prompt[prompts[place]]]
        if len(cluster) < MIN_PROMPTS and len(clusters) > 1:
            rest += rows
            continue
        central = by_prompt[prompts[_central(cluster, own)]]
        oldest = min(central, key=lambda row: row.id)
        kinds.append(_kind(name, excerpt(prompt_text(oldest)), rows, training))
    return [*kinds, _kind(name, None, rest, training)] if rest else kinds


def _clusters(vectors: Sequence[Vector]) -> list[list[int]]:
    """Return the places of the vectors by cluster. The same vectors in the same order give the same clusters."""
    if not vectors:
        return []
    import numpy  # an optional library, which the embedder needs as well

    matrix = numpy.array(vectors)
    sums = matrix @ matrix.T
    numpy.fill_diagonal(sums, -numpy.inf)
    sizes = numpy.ones(len(vectors))
    members = [[place] for place in range(len(vectors))]
    while len(vectors) > 1:
        means = sums / numpy.outer(sizes, sizes)
        kept, gone = divmod(int(means.argmax()), len(vectors))
        if means[kept, gone] < MIN_COSINE:
            break
        sums[kept] += sums[gone]
        sums[:, kept] = sums[kept]
        sums[kept, kept] = -numpy.inf
        sums[gone], sums[:, gone] = -numpy.inf, -numpy.inf
        sizes[kept] += sizes[gone]
        members[kept] += members[gone]
        members[gone] = []
    return [sorted(cluster) for cluster in members if cluster]


def _central(cluster: Sequence[int], vectors: Sequence[Vector]) -> int:
    """Return the member that is most similar to the mean of its cluster."""
    import numpy

    own = numpy.array([vectors[place] for place in cluster])
    return cluster[int((own @ own.mean(axis=0)).argmax())]


def _kind(name: str | None, prompt: str | None, rows: Sequence[ApprovedSample], training: frozenset[UUID]) -> Kind:
    ids = tuple(sorted(row.id for row in rows))
    return Kind(name, prompt, len(ids), sum(one in training for one in ids), ids)


def _by_type(rows: Sequence[ApprovedSample]) -> dict[str | None, list[ApprovedSample]]:
    found: dict[str | None, list[ApprovedSample]] = defaultdict(list)
    for row in rows:
        found[row.task_type].append(row)
    return found


def _ordered(kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    return tuple(sorted(kinds, key=lambda kind: (-kind.rows, kind.task_type or "", kind.prompt or "", kind.ids)))
