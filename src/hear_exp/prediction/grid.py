"""The grid: which values of a predictor's hyperparameters are searched, and in which order."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from .predictor import Predictor, arguments
from .protocol import Protocol


def expand_grid(kind: type[Predictor], settings: Mapping[str, Any], protocol: Protocol) -> list[Predictor]:
    """Grid points: the product of all lists, in the protocol's order and number.

    The product runs over the settings by name, the last one fastest, and is then shuffled with the protocol's
    seed; with seed 42 and the default grid the first eight points are those that all published HEAR scores come
    from. A protocol that searches the whole grid keeps the product's order.

    Raises UserError for a setting that is missing or that ``kind`` does not have, for a value that a setting cannot
    take, and for a point whose settings do not go together.
    """
    _check_names(kind, settings)
    axes = {}
    for name in sorted(settings):
        value = settings[name]
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not values:
            raise UserError(f"predictor.{name} is an empty list, expected a value or a list of values")
        axes[name] = values
    points = [kind(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    if protocol.grid_points is not None:
        random.Random(protocol.grid_seed).shuffle(points)
        points = points[: protocol.grid_points]
    for point in points:
        point.check()
    return points


def _check_names(kind: type[Predictor], settings: Mapping[str, Any]) -> None:
    known = arguments(kind)
    for name in settings:
        if name not in known:
            raise UserError(
                f"predictor.{name} has no effect on this predictor, whose options are: {', '.join(sorted(known))}"
            )
    for name, argument in known.items():
        if name not in settings and argument.default is inspect.Parameter.empty:
            raise UserError(f"predictor.{name} is missing, and this predictor needs it")
