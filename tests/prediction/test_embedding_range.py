import math
from types import SimpleNamespace

import numpy as np

from hear_exp.prediction import embedding_range as module
from hear_exp.prediction.embedding_range import EmbeddingRange, embedding_range


def of(rows, monkeypatch) -> EmbeddingRange:
    """Read in blocks of two rows."""
    array = np.array(rows, dtype=np.float32)
    monkeypatch.setattr(module, "BLOCK_BYTES", 2 * array[0].nbytes)
    return embedding_range(SimpleNamespace(array=lambda: array))


def test_blocks_with_and_without_finite_values_count_alike(monkeypatch):
    rows = [[math.nan, math.inf], [-math.inf, math.nan], [1.0, -3.0], [2.0, math.nan], [0.5, 0.5]]
    assert of(rows, monkeypatch) == EmbeddingRange(low=-3.0, high=2.0, not_finite=0.5, dtype="float32")


def test_nothing_finite(monkeypatch):
    found = of([[math.nan, math.inf]], monkeypatch)
    assert (math.isnan(found.low), math.isnan(found.high), found.not_finite, found.largest) == (True, True, 1.0, 0.0)
    assert str(found) == "float32 values from nan to nan, 100.000% of them not finite"
