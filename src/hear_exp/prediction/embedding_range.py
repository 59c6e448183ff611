"""The range of a task's embeddings, and the sentences about values that no predictor can train on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..embeddings.cache import Embeddings
from ..errors import UserError
from .predictor import TrainedPredictor

if TYPE_CHECKING:
    from .outcome import FitOutcome
    from .problem import Problem

BLOCK_BYTES = 16 << 20
NOT_FINITE = ("loss_not_finite", "distances_not_finite")  # FitOutcome.stopped_by
LARGEST_FLOAT16 = 65504.0


@dataclass(frozen=True)
class EmbeddingRange:
    """Lowest and highest finite value (nan where there is none), and the share of values that are not finite."""

    low: float
    high: float
    not_finite: float
    dtype: str

    def __str__(self) -> str:
        share = f"{self.not_finite:.3%} of them not finite" if self.not_finite else "all of them finite"
        return f"{self.dtype} values from {self.low:.3g} to {self.high:.3g}, {share}"

    @property
    def largest(self) -> float:
        """The largest magnitude of a finite value; 0 where there is none."""
        return 0.0 if math.isnan(self.low) else max(abs(self.low), abs(self.high))


def embedding_range(embeddings: Embeddings) -> EmbeddingRange:
    """Reads all embeddings once, in order."""
    array = embeddings.array()
    rows = max(1, BLOCK_BYTES // array[:1].nbytes)
    lows, highs, odd = [], [], 0
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        low, high = float(block.min()), float(block.max())  # NaN where there is one, inf where there is one
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = block[np.isfinite(block)]
            odd += block.size - finite.size
            if not finite.size:
                continue
            low, high = float(finite.min()), float(finite.max())
        lows.append(low)
        highs.append(high)
    return EmbeddingRange(
        low=min(lows, default=math.nan),
        high=max(highs, default=math.nan),
        not_finite=odd / array.size,
        dtype=str(array.dtype),
    )


def check_range(problem: Problem) -> None:
    """Raise UserError for embeddings that are not finite, or that the arithmetic of a fit cannot square and sum."""
    found = embedding_range(problem.embeddings)
    limit = _limit(problem.precision, problem.embeddings.dim)
    if found.not_finite or found.largest > limit:
        raise UserError(
            f"no predictor can train on these embeddings ({problem.embeddings.folder}): {found}; with "
            f"trainer.precision={problem.precision} magnitudes up to {limit:.3g} work: {_advice()}"
        )


def check_finite_fits(grid: Sequence[FitOutcome], problem: Problem) -> None:
    """Raise UserError where no grid point came to a validation with finite results: there is nothing to choose."""
    if not all(fit.stopped_by in NOT_FINITE and not math.isfinite(fit.monitored) for fit in grid):
        return
    what = "loss" if grid[0].stopped_by == "loss_not_finite" else "distances"
    rates = sorted({fit.job.predictor.lr for fit in grid if isinstance(fit.job.predictor, TrainedPredictor)})
    tried = f"a predictor.lr below {rates[0]:g}, or " if rates else ""
    raise UserError(
        f"all {len(grid)} grid points ended with {what} that {'is' if what == 'loss' else 'are'} not finite at their "
        f"first validation; the embeddings ({problem.embeddings.folder}) are {embedding_range(problem.embeddings)}: "
        f"try {tried}{_advice()}"
    )


def not_finite_predictions(problem: Problem, outcome: FitOutcome) -> UserError:
    """The error for a fit whose predictions on its test split are not finite."""
    return UserError(
        f"the predictor chosen on validation predicts values that are not finite on {outcome.job.fold.test} (its fit "
        f"ended by {outcome.stopped_by} in epoch {outcome.epochs_run}); the embeddings ({problem.embeddings.folder}) "
        f"are {embedding_range(problem.embeddings)}: try a smaller predictor.lr, or {_advice()}"
    )


def _advice() -> str:
    return (
        f"embeddings of ordinary scale (does the model compute in float16, whose largest value is {LARGEST_FLOAT16:g}? "
        "does it leave out a normalisation?)"
    )


def _limit(precision: str, dim: int) -> float:
    if precision == "16-mixed":
        return LARGEST_FLOAT16
    largest = np.finfo(np.float64 if precision == "64-true" else np.float32).max
    return float(np.sqrt(largest / dim))
