"""Scores that are means over labels: mAP, aucroc, d_prime; labels that leave the mean undefined are left out."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import listed
from .figure import Figure, Figures
from .ranking import average_precision, d_prime, roc_area
from .scenes import Scenes, checked_scenes

log = logging.getLogger(__name__)

NO_POSITIVES = "no clip has a label"
NO_CONTRAST = "every label is one that no clip has, or every clip"


def mean_average_precision(scenes: Scenes) -> Figures:
    """Mean over labels of average precision; a label that no clip has is left out."""
    return {"": _mean(_by_label(scenes, average_precision), scenes.labels, NO_POSITIVES)}


def mean_roc_area(scenes: Scenes) -> Figures:
    """Mean over labels of the area under the ROC curve; one that no clip has, or every clip, is left out."""
    return {"": _mean(_by_label(scenes, roc_area), scenes.labels, NO_CONTRAST)}


def mean_d_prime(scenes: Scenes) -> Figures:
    """Mean over labels of d', of the labels that mean_roc_area takes; NAME_finite: of those whose d' is finite."""
    values = _by_label(scenes, d_prime)
    finite = values[np.isfinite(values)]
    return {
        "": _mean(values, scenes.labels, NO_CONTRAST),
        "_finite": Figure(float(finite.mean()) if len(finite) else math.nan, "no label has a finite d'"),
    }


def per_class_average_precision(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Average precision of each label.

    Args:
        probabilities: (clips, labels) float in [0, 1].
        targets: (clips, labels), 0 or 1.

    Returns:
        (labels,) float64, nan for labels that no clip has.

    Raises:
        ValueError: as for scores.scene_scores.
    """
    return _by_label(checked_scenes(probabilities, targets), average_precision)


def _by_label(scenes: Scenes, score: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
    return np.array([score(false, true) for false, true in scenes.curves])


def _mean(values: np.ndarray, labels: tuple[str, ...], why_all_undefined: str) -> Figure:
    """The mean of those ``values`` of labels that are not nan."""
    skipped = np.isnan(values)
    if skipped.any():
        _log_skipped(labels, tuple(np.flatnonzero(skipped).tolist()))
    if skipped.all():
        return Figure(math.nan, why_all_undefined)
    with np.errstate(invalid="ignore"):  # inf - inf
        mean = float(values[~skipped].mean())
    return Figure(mean, _both_ways(values, labels) if math.isnan(mean) else "")


def _both_ways(values: np.ndarray, labels: Sequence[str]) -> str:
    """Why a mean of ``values`` is nan: some are inf, some -inf."""
    best, worst = ([labels[i] for i in np.flatnonzero(values == end).tolist()] for end in (math.inf, -math.inf))
    return (
        f"some labels are perfectly separated ({listed(best)}), others perfectly the wrong way round "
        f"({listed(worst)}): inf - inf"
    )


@functools.cache  # said once: a search scores the same labels hundreds of times
def _log_skipped(labels: tuple[str, ...], skipped: tuple[int, ...]) -> None:
    log.warning(
        "scores that are means over labels leave out %d of %d labels, which no clip (or every clip) has: %s",
        len(skipped),
        len(labels),
        listed([labels[i] for i in skipped]),
    )
