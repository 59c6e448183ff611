"""Probabilities and targets of clips, checked: what every score of whole clips is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .ranking import curve_counts


@dataclass(frozen=True, eq=False)
class Scenes:
    """Clips to be scored.

    ``probabilities`` are (clips, labels) float64 in [0, 1], ``targets`` (clips, labels) int64, 0 or 1; ``labels`` are
    the labels' names. ``multilabel_accuracy`` says what an accuracy is of clips with any number of labels.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    labels: tuple[str, ...]
    multilabel_accuracy: str | None

    @cached_property
    def curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The labels' ``curve_counts``, made once for all scores that need them."""
        return curve_counts(self.probabilities, self.targets)


def checked_scenes(
    probabilities: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str] = (),
    multilabel_accuracy: str | None = None,
) -> Scenes:
    """The clips as scores take them; labels without names are called by their index.

    Raises ValueError for no clips, shapes that differ, probabilities that are nan or outside [0, 1] by more than
    rounding, and targets other than 0 and 1.
    """
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    if probabilities.ndim != 2 or probabilities.shape != targets.shape:
        raise ValueError(
            "probabilities and targets must both be (clips, labels), "
            f"got shapes {probabilities.shape} and {targets.shape}"
        )
    if probabilities.size == 0:
        raise ValueError(f"nothing to score: probabilities have shape {probabilities.shape} (clips, labels)")
    probabilities = probabilities.astype(np.float64)
    wrong = ~((probabilities >= -1e-6) & (probabilities <= 1 + 1e-6))
    if wrong.any():
        clip, label = np.argwhere(wrong)[0]
        raise ValueError(
            f"probabilities[{clip}, {label}] is {probabilities[clip, label]} (one of {wrong.sum()} such), "
            "expected a number in [0, 1]: nan means that training diverged, other values may be logits"
        )
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets hold values other than 0 and 1")
    return Scenes(
        probabilities=probabilities.clip(0, 1),  # weights that sum to 1 but for rounding
        targets=targets.astype(np.int64),
        labels=tuple(labels) or tuple(str(i) for i in range(targets.shape[1])),
        multilabel_accuracy=multilabel_accuracy,
    )
