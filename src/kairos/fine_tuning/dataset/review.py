"""Reviews the samples of a training before it starts: kinds, contradictions, repetitions, and rows of no use.

Cost on two cores (`python -m benchmarks.dataset_kinds`): the comparison of texts runs in a thread, and at most
`MAX_EMBEDDED` prompts are embedded, one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from kairos.fine_tuning.dataset.contradictions import Contradiction, contradictions, distinct
from kairos.fine_tuning.dataset.kinds import Kind, kinds_by_prompt, kinds_by_type, prompts_to_embed
from kairos.fine_tuning.dataset.sample_keys import KeyedSample, keyed, text_of
from kairos.fine_tuning.dataset.split import ApprovedSample, Part, split
from kairos.llm.calls.prompt_size import MESSAGE_TOKENS, Vocabulary, token_upper_bound
from kairos.llm.routing.embedder import Embedder, EmbedderUnavailable, Vector
from kairos.llm.routing.task_types import READ_TOKENS

MAX_REVIEWED = 5_000
"""The newest samples are reviewed."""
MAX_EMBEDDED = 400
EMBEDDING_S = 5.0
"""Time limit for embedding all prompts."""
SHOWN_CONFLICTS = 10
MEASURED = 1_500
"""Characters of either end of an example from which the tokens of a longer one are estimated."""
MOST_TOKENS_PER_CHARACTER = 3.5


@dataclass(frozen=True, slots=True)
class Grouping:
    """How kinds were found."""

    prompts: int
    """Different prompts among the reviewed samples."""
    grouped: int
    """Those that were compared; a random sample if there are more than `MAX_EMBEDDED`."""
    problem: str | None = None
    """Why prompts were not compared; the kinds are then the task types."""

    @property
    def sampled(self) -> bool:
        """Whether the kinds leave out some prompts."""
        return self.problem is None and self.grouped < self.prompts


@dataclass(frozen=True, slots=True)
class DatasetReview:
    """Figures of the approved and held-out samples of a project."""

    rows: int
    reviewed: int
    distinct: int
    """Reviewed samples without repetitions of both prompt and answer."""
    distinct_training: int
    """Those of them that are not held out."""
    contradictions: int
    """Prompts with different answers."""
    conflicts: tuple[Contradiction, ...]
    """The first `SHOWN_CONFLICTS` pairs."""
    too_long: int
    """Samples that have more tokens than `max_tokens`, by an estimate; the training leaves them out."""
    max_tokens: int
    empty_answers: int
    kinds: tuple[Kind, ...]
    grouping: Grouping

    @property
    def repeated(self) -> int:
        return self.reviewed - self.distinct


@dataclass(frozen=True, slots=True)
class _Texts:
    """What the texts of the samples show, without vectors."""

    rows: tuple[ApprovedSample, ...]
    training: frozenset[UUID]
    samples: tuple[KeyedSample, ...]
    conflicts: tuple[tuple[Contradiction, ...], ...]
    too_long: int
    prompts: tuple[str, ...]
    """All different prompts."""


class DatasetReviewer:
    """Reviews samples. Prompts of one review at a time are embedded: the router waits for the same embedder."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._turn = asyncio.Lock()

    async def review(
        self, rows: Sequence[ApprovedSample], held_out_share: float, max_tokens: int, vocabulary: Vocabulary
    ) -> DatasetReview:
        """Return the figures of these samples, whatever their order.

        If prompts cannot be embedded within `EMBEDDING_S`, the kinds are the task types.
        """
        texts = await asyncio.to_thread(_texts, rows, held_out_share, max_tokens, vocabulary)
        compared = texts.prompts[:MAX_EMBEDDED]
        vectors, problem = await self._vectors(compared)
        if problem is None:
            known = dict(zip(compared, vectors, strict=True))
            kinds = await asyncio.to_thread(kinds_by_prompt, texts.rows, texts.training, known)
        else:
            kinds = kinds_by_type(texts.rows, texts.training)
        return DatasetReview(
            rows=len(rows),
            reviewed=len(texts.rows),
            distinct=distinct(texts.samples),
            distinct_training=distinct(sample for sample in texts.samples if sample.row.id in texts.training),
            contradictions=len(texts.conflicts),
            conflicts=tuple(pair for pairs in texts.conflicts for pair in pairs)[:SHOWN_CONFLICTS],
            too_long=texts.too_long,
            max_tokens=max_tokens,
            empty_answers=sum(not sample.answered for sample in texts.samples),
            kinds=kinds,
            grouping=Grouping(len(texts.prompts), len(compared) if problem is None else 0, problem),
        )

    async def _vectors(self, prompts: Sequence[str]) -> tuple[list[Vector], str | None]:
        """Return the vectors, or the reason why there are none."""
        try:
            async with asyncio.timeout(EMBEDDING_S), self._turn:
                return await self._embedder.embed(prompts, READ_TOKENS), None
        except TimeoutError:
            return [], f"Embedding the prompts took more than {EMBEDDING_S:.0f} s."
        except EmbedderUnavailable as error:
            return [], str(error)


def estimated_tokens(row: ApprovedSample, vocabulary: Vocabulary) -> int:
    """Return an upper bound of the tokens of prompt and answer, for long ones scaled from both ends."""
    text = "\n".join([*map(text_of, row.messages), row.answer])
    overhead = MESSAGE_TOKENS * (len(row.messages) + 1)
    if len(text) <= 2 * MEASURED:
        return overhead + token_upper_bound(text, vocabulary)
    ends = token_upper_bound(text[:MEASURED], vocabulary) + token_upper_bound(text[-MEASURED:], vocabulary)
    return overhead + ends * len(text) // (2 * MEASURED)


def _texts(rows: Sequence[ApprovedSample], held_out_share: float, max_tokens: int, vocabulary: Vocabulary) -> _Texts:
    newest = tuple(sorted(rows, key=lambda row: row.id)[-MAX_REVIEWED:])
    samples = tuple(map(keyed, newest))
    return _Texts(
        rows=newest,
        training=frozenset(row.id for row in split(rows, held_out_share)[Part.TRAINING]),
        samples=samples,
        conflicts=tuple(map(tuple, contradictions(samples))),
        too_long=sum(_too_long(row, max_tokens, vocabulary) for row in newest),
        prompts=tuple(prompts_to_embed(newest, len(newest))),
    )


def _too_long(row: ApprovedSample, max_tokens: int, vocabulary: Vocabulary) -> bool:
    """Whether an example exceeds the limit. The tokens of short ones are not counted."""
    characters = sum(len(text_of(message)) + 1 for message in row.messages) + len(row.answer)
    overhead = MESSAGE_TOKENS * (len(row.messages) + 1)
    if characters * MOST_TOKENS_PER_CHARACTER + overhead <= max_tokens:
        return False
    return estimated_tokens(row, vocabulary) > max_tokens
