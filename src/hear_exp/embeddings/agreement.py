"""How far two embeddings of the same clips may lie apart."""

from __future__ import annotations

import numpy as np

# Differences relative to the largest value: batches of another size may be computed in another order.
ROUNDING, NOTICEABLE = 1e-4, 1e-2


def relative(mine: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two arrays, relative to the largest value; infinite where they are not comparable."""
    if mine.shape != expected.shape or not (np.isfinite(mine).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.abs(mine - expected).max(initial=0) / max(float(np.abs(expected).max(initial=0)), 1e-12))
