"""Mean and deviation of scores, some of which may be undefined (None) or infinite."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def mean(values: Sequence[float | None]) -> float | None:
    """None where a value is undefined, or where values are infinite both ways; infinite where one is."""
    known = [value for value in values if value is not None]
    infinite = {value for value in known if math.isinf(value)}
    if len(known) < len(values) or len(infinite) == 2:
        return None
    return infinite.pop() if infinite else statistics.fmean(known)


def deviation(values: Sequence[float | None]) -> float | None:
    """Standard deviation (ddof 1); None of one value, or of values not all finite."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.stdev(known) if len(known) == len(values) > 1 else None
