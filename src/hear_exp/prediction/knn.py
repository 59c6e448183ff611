"""Nearest neighbours, a predictor without training: its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .hyperparameters import POSITIVE, WHOLE, OneOf
from .predictor import UntrainedPredictor

if TYPE_CHECKING:
    from .neighbours import NeighbourVote


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours(UntrainedPredictor):
    """A vote of the ``k`` nearest training rows: see ``neighbours.NeighbourVote``."""

    k: int
    metric: str
    temperature: float

    in_words: ClassVar[str] = "nearest neighbours"

    def __post_init__(self) -> None:
        super().__post_init__()
        WHOLE.check(self, "k")
        OneOf(("cosine", "euclidean")).check(self, "metric")
        POSITIVE.check(self, "temperature")

    def network(self, dim: int, labels: int) -> NeighbourVote:
        """Probabilities (rows, labels) of embeddings (rows, dim)."""
        from .neighbours import NeighbourVote

        return NeighbourVote(k=self.k, metric=self.metric, temperature=self.temperature)
