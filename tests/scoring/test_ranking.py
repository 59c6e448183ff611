"""Ranking label by label: the counts of the curves are those of torchmetrics, to the bit."""

import warnings

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_roc

from hear_exp.scoring.ranking import average_precision, curve_counts, d_prime, roc_area


def slow_curve_counts(probabilities, targets):
    """torchmetrics' rates are float32 fractions of known whole numbers, so rounding gives the counts back."""
    counts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels without positives or negatives
        for probability, target in zip(probabilities.T.copy(), targets.T.copy(), strict=True):
            false, true, _ = binary_roc(torch.from_numpy(probability), torch.from_numpy(target), thresholds=None)
            positives = target.sum()
            false_count = np.rint(false.double().numpy() * (len(target) - positives))
            counts.append((false_count, np.rint(true.double().numpy() * positives)))
    return counts


@pytest.mark.parametrize("seed", range(20))
def test_counts_equal_those_of_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    clips, labels = [(1, 2), (2, 3), (57, 5), (4000, 4)][seed % 4]
    targets = (rng.random((clips, labels)) < rng.choice([0.0, 0.05, 0.5, 1.0], labels)).astype(np.int64)
    probabilities = rng.random((clips, labels)) ** rng.choice([1, 30, 400])
    if seed % 3 == 0:
        probabilities = np.round(probabilities, 1)
    if seed % 3 == 1:
        probabilities = probabilities.astype(np.float32).astype(np.float64)
    for ours, theirs in zip(
        curve_counts(probabilities, targets), slow_curve_counts(probabilities, targets), strict=True
    ):
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.dtype == np.float64
            np.testing.assert_array_equal(mine, other)


@pytest.mark.slow
def test_more_clips_than_float32_counts():
    """Five million clips; the one positive has two negatives above it."""
    probabilities = np.linspace(0, 1, 5_000_000)[:, np.newaxis]
    targets = np.zeros(probabilities.shape, dtype=np.int64)
    targets[-3] = 1
    (counts,) = curve_counts(probabilities, targets)
    assert average_precision(*counts) == 1 / 3
    assert roc_area(*counts) == 1 - 2 / 4_999_999


def test_undefined_and_infinite():
    for target, area in (([0, 1], np.inf), ([1, 0], -np.inf)):
        (counts,) = curve_counts(np.array([[0.2], [0.8]]), np.array([target]).T)
        assert d_prime(*counts) == area
    (counts,) = curve_counts(np.array([[0.2], [0.8]]), np.array([[0], [0]]))
    assert np.isnan([average_precision(*counts), roc_area(*counts), d_prime(*counts)]).all()
