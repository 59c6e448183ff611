"""Doubts about a score that the fits behind it raise: how they ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import FitOutcome


def fit_doubts(grid: Sequence[FitOutcome], winner: int, others: Sequence[FitOutcome], metric: str) -> tuple[str, ...]:
    """Sentences about the fits of a search: ``grid`` on the first fold, ``others`` the winner's on the other folds."""
    return (
        *_cut_short(grid, grid[winner], others),
        *_ended_by_quirk(grid, "grid points", metric),
        *_ended_by_quirk(others, "fits on the other folds", metric),
    )


def _cut_short(grid: Sequence[FitOutcome], winner: FitOutcome, others: Sequence[FitOutcome]) -> Iterator[str]:
    """Fits that ended at max_epochs, and not because their patience was over."""
    winners = [winner, *others]
    cut, points = (sum(fit.stopped_by == "max_epochs" for fit in fits) for fits in (winners, grid))
    if not cut and points < len(grid):
        return
    limit = winner.job.hyperparameters["max_epochs"]
    best = ", ".join(str(fit.epoch + 1) for fit in winners)
    yield (
        f"{cut} of {len(winners)} fits of the winner and {points} of {len(grid)} grid points ended at max_epochs, not "
        f"by patience (the winner's {limit} epochs, its best one {best}): the score may still rise with a larger "
        "predictor.max_epochs"
    )


def _ended_by_quirk(fits: Sequence[FitOutcome], what: str, metric: str) -> Iterator[str]:
    ended = [fit for fit in fits if fit.stopped_by == "score_undefined"]
    if ended:
        yield (
            f"{len(ended)} of {len(fits)} {what} ended early, the first after epoch "
            f"{min(fit.epochs_run for fit in ended)}, at a validation whose {metric} is undefined (no event was "
            "predicted), as in HEAR 2021; protocol=fixed counts it as 0 and trains on"
        )
