import math

import numpy as np
import pytest

from hear_exp.embeddings.agreement import relative


def test_difference_relative_to_the_largest_value():
    assert relative(np.array([1.0, -4.0]), np.array([1.5, -4.0])) == pytest.approx(0.125)
    assert relative(np.zeros(2), np.zeros(2)) == 0
    assert relative(np.empty((0, 3)), np.empty((0, 3))) == 0


@pytest.mark.parametrize("mine", [[1.0], [[1.0, 2.0]], [1.0, math.nan], [1.0, math.inf]])
def test_what_cannot_be_compared_never_agrees(mine):
    """A shape that broadcasts, or NaN, whose differences no limit exceeds, must not pass."""
    expected = np.array([1.0, 2.0])
    assert relative(np.array(mine), expected) == math.inf
    assert relative(expected, np.array(mine)) == math.inf
