"""The recipe of each try of a run, chosen by the shortfall of the try before."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from kairos.fine_tuning.training.process.job import TrainingSettings

MORE_REPLAY, MOST_REPLAY = 1.3, 0.8
GENTLER = 0.6
LONGER = 1.75
FASTER, FASTEST = 1.25, 1e-3
WIDER, WIDEST = 2, 32


class Shortfall(StrEnum):
    """Why a try is not good enough."""

    FORGOT = "forgot"
    """It lost general ability."""
    LEARNED_TOO_LITTLE = "learned_too_little"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a try is trained."""

    training: TrainingSettings
    replay_share: float
    """Share of the examples that are control prompts answered by the base."""

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Recipe:
        return cls(TrainingSettings(**stored["training"]), stored["replay_share"])

    def after(self, shortfall: Shortfall) -> Recipe:
        """Return the recipe for another try.

        Against forgetting: more replayed prompts and smaller steps. Against learning too little: more passes, larger
        steps, and an adapter of a higher rank.
        """
        settings = self.training
        if shortfall is Shortfall.FORGOT:
            gentler = replace(
                settings, learning_rate=settings.learning_rate * GENTLER, epochs=settings.epochs / GENTLER
            )
            return Recipe(gentler, min(MOST_REPLAY, self.replay_share * MORE_REPLAY))
        rank = min(max(WIDEST, settings.rank), settings.rank * WIDER)
        stronger = replace(
            settings,
            epochs=settings.epochs * LONGER,
            learning_rate=min(max(FASTEST, settings.learning_rate), settings.learning_rate * FASTER),
            rank=rank,
            alpha=settings.alpha * rank // settings.rank,
        )
        return Recipe(stronger, self.replay_share)
