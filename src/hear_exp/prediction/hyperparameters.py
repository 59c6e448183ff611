"""Checks of hyperparameters, each with the sentence for a value that cannot be."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from ..errors import UserError


@dataclass(frozen=True)
class Number:
    """Numbers from ``low`` to ``high``, whole ones only where ``whole``; ``in_words`` says so."""

    low: float
    high: float
    in_words: str
    whole: bool = False

    def check(self, predictor: object, name: str) -> None:
        """Raise UserError unless the attribute ``name`` of ``predictor`` is one of these."""
        value = getattr(predictor, name)
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            raise _refused(name, value, self.in_words)


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    values: tuple[str, ...]

    def check(self, predictor: object, name: str) -> None:
        """Raise UserError unless the attribute ``name`` of ``predictor`` is one of these."""
        value = getattr(predictor, name)
        if value not in self.values:
            raise _refused(name, value, f"one of: {', '.join(self.values)}")


def _refused(name: str, value: Any, expected: str) -> UserError:
    return UserError(f"predictor.{name} is {value!r}, expected {expected}")


WHOLE = Number(1, math.inf, "a whole number from 1 up", whole=True)
POSITIVE = Number(sys.float_info.min, sys.float_info.max, "a number above 0")
