"""Nearest centroids: the mean vector of each task type's labelled prompts, pure arithmetic without I/O or clock.

The measure is the cosine between the prompt and each mean once the centre of all means is taken off both: what the
types have in common says nothing. On the prompts of `tests/data/labelled_prompts.tsv` (8 types, leave-one-out) that
takes accuracy from .84 to .88, and prompts of no type score below `LEAST_COSINE` (`benchmarks/task_types.py`). The five
nearest prompts voting gave .79. Dropping prompts far from their own mean was tried with 0, 10 and 20 % wrong labels and
gained nothing: every vector has length one, so a wrong label among n moves a mean by 2/n at most.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from operator import mul

REMEMBERED = 200.0
"""Examples a mean stands for at most: each later one takes the place of a two-hundredth of it."""
LEARN_ALL = 50
"""Examples of a type up to which each prompt is learned from, then every `LEARN_EVERY`th."""
LEARN_EVERY = 10
MOST_TYPES = 64
"""Of a project; callers name types freely. Those with the most examples are kept."""
LEAST_EXAMPLES = 5
"""Examples from which a type may be recognised: of 8 types' guesses that pass both thresholds 11 % were wrong with 3
examples, 8 % with 5."""
LEAST_COSINE = 0.20
LEAST_MARGIN = 0.06
"""Chosen on the set named above. With 8 types of 19 examples 94 % of what passes both is right, and 76 % of prompts
pass; with 5 examples 92 % and 51 %. Of prompts of no known type 0 to 9 % pass. A wrong type costs more than
`general`."""


@dataclass(frozen=True, slots=True)
class Centroid:
    """The sum of the vectors of a type's examples and how many there are: two of them add up in any order."""

    count: float
    sum: Sequence[float]

    @classmethod
    def of(cls, vectors: Sequence[Sequence[float]]) -> Centroid:
        """At least one vector."""
        return cls(float(len(vectors)), array("d", map(sum, zip(*vectors, strict=True))))


@dataclass(frozen=True, slots=True)
class Guess:
    """The type nearest to a prompt."""

    name: str
    cosine: float
    margin: float
    """By how much it is nearer than the second."""

    @property
    def certain(self) -> bool:
        return self.cosine >= LEAST_COSINE and self.margin >= LEAST_MARGIN


def merged(kept: Centroid, added: Centroid, most: float = REMEMBERED) -> Centroid:
    """Both together. Beyond `most` examples the older ones give way (`repositories/task_types.py` says it in SQL)."""
    keep = min(1.0, max(most - added.count, 0.0) / kept.count) if kept.count else 0.0
    total = array("d", (old * keep + new for old, new in zip(kept.sum, added.sum, strict=True)))
    return Centroid(kept.count * keep + added.count, total)


def merged_all(kept: Mapping[str, Centroid], added: Mapping[str, Centroid]) -> dict[str, Centroid]:
    """The centroids of both, type by type."""
    together = dict(kept)
    for name, centroid in added.items():
        together[name] = merged(together[name], centroid) if name in together else centroid
    return together


class Classifier:
    """The types that have enough examples, ready to be compared with. Never changes."""

    def __init__(self, centroids: Mapping[str, Centroid]) -> None:
        ready = {name: c for name, c in sorted(centroids.items()) if c.count >= LEAST_EXAMPLES}
        means = {name: array("d", (x / c.count for x in c.sum)) for name, c in ready.items()}
        self._centre = _mean(means.values())
        self._directions = {name: _direction(mean, self._centre) for name, mean in means.items()}

    @property
    def ready(self) -> bool:
        """Whether there are two types to tell apart: a single one would fit everything."""
        return len(self._directions) >= 2

    def guess(self, vector: Sequence[float]) -> Guess:
        """The nearest type; of equally near ones the first by name. Only when `ready`."""
        direction = _direction(vector, self._centre)
        cosines = ((sum(map(mul, own, direction)), name) for name, own in self._directions.items())
        (first, name), (second, _) = sorted(cosines, key=lambda pair: -pair[0])[:2]
        return Guess(name, first, first - second)


@dataclass(slots=True)
class ProjectCentroids:
    """What is known of one project: what replicas share, and what this one learned since it last wrote."""

    shared: dict[str, Centroid] = field(default_factory=dict)
    unwritten: dict[str, Centroid] = field(default_factory=dict)
    offered: dict[str, int] = field(default_factory=dict)
    """Labelled prompts seen by type since they were many, for the sampling."""
    read_at: float | None = None
    classifier: Classifier = field(default_factory=lambda: Classifier({}))

    def learn(self, task_type: str, example: Centroid) -> None:
        """Add examples; beyond `MOST_TYPES` types, only those of known ones."""
        if task_type in self.unwritten or task_type in self.shared or len(self.unwritten) < MOST_TYPES:
            self.unwritten = merged_all(self.unwritten, {task_type: example})
            self.classifier = Classifier(merged_all(self.shared, self.unwritten))

    def replace_shared(self, shared: dict[str, Centroid], now: float) -> None:
        """Take over what all replicas learned; what this one has not written yet comes on top."""
        self.shared, self.read_at = shared, now
        self.classifier = Classifier(merged_all(shared, self.unwritten))

    def wants(self, task_type: str) -> bool:
        """Whether the next prompt of this type is to be learned from."""
        known = sum(side[task_type].count for side in (self.shared, self.unwritten) if task_type in side)
        if known < LEARN_ALL:
            return True
        if len(self.offered) > MOST_TYPES:
            self.offered.clear()
        self.offered[task_type] = self.offered.get(task_type, 0) + 1
        return self.offered[task_type] % LEARN_EVERY == 0


def _mean(vectors: Iterable[Sequence[float]]) -> Sequence[float]:
    every = list(vectors)
    return array("d", (sum(column) / len(every) for column in zip(*every, strict=True)))


def _direction(vector: Sequence[float], centre: Sequence[float]) -> Sequence[float]:
    """The unit vector from the centre; all zeros for the centre itself, which is near to nothing."""
    offset = array("d", (x - c for x, c in zip(vector, centre, strict=True)))
    length = sqrt(sum(map(mul, offset, offset)))
    return array("d", (x / length for x in offset)) if length > 1e-9 else offset
