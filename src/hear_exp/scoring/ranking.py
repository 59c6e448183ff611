"""How well probabilities rank clips, label by label: average precision, area under the ROC curve, d'."""

from __future__ import annotations

import math

import numpy as np


def curve_counts(probabilities: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """How many clips lie above each threshold, for each label.

    Args:
        probabilities: (clips, labels) float64.
        targets: (clips, labels), 0 or 1.

    Returns:
        For each label false and true positives, float64 (thresholds + 1,): none at first, then those at or above
        each distinct probability, descending. Whole numbers, so that what is made of them rounds only once.
    """
    counts = []
    for probability, target in zip(probabilities.T, targets.T, strict=True):
        order = np.argsort(-probability, kind="stable")
        ranked, positive = probability[order], target[order]
        last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # of each run of ties
        true = np.cumsum(positive)[last]
        counts.append((np.append(0.0, last + 1 - true), np.append(0.0, true)))
    return counts


def average_precision(false: np.ndarray, true: np.ndarray) -> float:
    """Mean precision over the clips that have the label, from its curve_counts; nan where none has it."""
    if true[-1] == 0:
        return math.nan
    precision = true[1:] / (true[1:] + false[1:])
    return float(np.sum(np.diff(true) * precision) / true[-1])


def roc_area(false: np.ndarray, true: np.ndarray) -> float:
    """Area under the ROC curve, from a label's curve_counts; nan where no clip or every clip has the label."""
    if true[-1] == 0 or false[-1] == 0:
        return math.nan
    # Twice the area in units of counts: whole numbers, so that the only rounding is in the division.
    return float(np.sum(np.diff(false) * (true[1:] + true[:-1])) / (2 * true[-1] * false[-1]))


def d_prime(false: np.ndarray, true: np.ndarray) -> float:
    """sqrt(2) times the normal quantile of roc_area: inf for a perfect ranking, -inf for a reversed one.

    Source: Hershey et al. 2017, CNN Architectures for Large-Scale Audio Classification.
    """
    from scipy.special import ndtri

    return math.sqrt(2) * float(ndtri(roc_area(false, true)))
