"""Means and deviations, with what is undefined and what is infinite."""

import math

import pytest

from hear_exp.results.averages import deviation, mean


@pytest.mark.parametrize(
    ("values", "average", "spread"),
    [
        ([0.5, 0.7], 0.6, math.sqrt(0.02)),
        ([0.5], 0.5, None),
        ([0.5, None], None, None),
        ([0.5, math.inf], math.inf, None),
        ([-math.inf, -math.inf], -math.inf, None),
        ([-math.inf, math.inf], None, None),
    ],
)
def test_by_hand(values, average, spread):
    assert mean(values) == (None if average is None else pytest.approx(average))
    assert deviation(values) == (None if spread is None else pytest.approx(spread))
