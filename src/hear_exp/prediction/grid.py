"""The predictor's settings: what may be set, which values are searched, and in which order."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from .protocol import Protocol

# HEAR's metadata names settings as heareval did; some of its fixed choices are not settings here.
Check = tuple[Any, float, float, str]  # types, lowest, highest, in words
_POSITIVE_INT: Check = (int, 1, math.inf, "a whole number from 1 up")
CHECKS: dict[str, Check] = {
    "hidden_layers": (int, 0, 10, "a whole number from 0 to 10"),
    "hidden_dim": _POSITIVE_INT,
    "dropout": ((int, float), 0, 0.999, "a number from 0 to below 1"),
    "lr": ((int, float), 1e-12, 1e3, "a number above 0"),
    "batch_size": _POSITIVE_INT,
    "max_epochs": _POSITIVE_INT,
    "check_val_every_n_epoch": _POSITIVE_INT,
    "patience": _POSITIVE_INT,
    "k": _POSITIVE_INT,
    "temperature": ((int, float), 1e-12, 1e12, "a number above 0"),
}
NAMES = {"initialization": ("xavier_uniform", "xavier_normal"), "metric": ("cosine", "euclidean")}
NEIGHBOURS = {"needs": ("batch_size", "k", "metric", "temperature"), "may": ()}
LINEAR = {
    "needs": ("batch_size", "check_val_every_n_epoch", "lr", "max_epochs", "patience"),
    "may": ("initialization",),
}
NETWORK = {**LINEAR, "may": ("dropout", "hidden_dim", "hidden_layers", "initialization")}


def apply_task_grid(settings: Mapping[str, Any], task_grid: Mapping[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    """The predictor's settings with the task's own over them, except where the user ``chosen`` a value.

    A task's setting that the predictor does not have (max_epochs for knn) has nothing to act on and is left out.
    """
    own = {name: value for name, value in task_grid.items() if name in settings and name not in chosen}
    return {**settings, **own}


def expand_grid(settings: Mapping[str, Any], protocol: Protocol) -> list[dict[str, Any]]:
    """Grid points: the product of all lists, in the protocol's order and number.

    The product runs over the settings by name, the last one fastest, and is then shuffled with the protocol's
    seed; with seed 42 and the default grid the first eight points are those that all published HEAR scores come
    from. A protocol that searches the whole grid keeps the product's order.

    Raises UserError for a setting that is missing or has no effect on this predictor, and for a value that a
    setting cannot take.
    """
    _check_names(settings)
    axes = {}
    for name in sorted(settings):
        value = settings[name]
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not values:
            raise UserError(f"predictor.{name} is an empty list, expected a value or a list of values")
        axes[name] = [_checked(name, v) for v in values]
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    if protocol.grid_points is not None:
        random.Random(protocol.grid_seed).shuffle(points)
        points = points[: protocol.grid_points]
    return points


def check_precision(precision: str, points: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError for a precision that has no effect on the predictor: nearest neighbours do not train."""
    if precision.endswith("-mixed") and any("k" in point for point in points):
        raise UserError(
            f"trainer.precision={precision} has no effect on nearest neighbours, which are computed in float32, or in "
            "float64 with trainer.precision=64-true"
        )


def _check_names(settings: Mapping[str, Any]) -> None:
    """Nearest neighbours (which have k), a linear classifier (no hidden_layers) and the network differ in theirs."""
    kind = NEIGHBOURS if "k" in settings else NETWORK if "hidden_layers" in settings else LINEAR
    for name in settings:
        if name not in kind["needs"] + kind["may"]:
            raise UserError(
                f"predictor.{name} has no effect on this predictor, whose options are: "
                + ", ".join(sorted(kind["needs"] + kind["may"]))
            )
    for name in kind["needs"]:
        if name not in settings:
            raise UserError(f"predictor.{name} is missing, and this predictor needs it")


def _checked(name: str, value: Any) -> Any:
    if name in NAMES:
        if value not in NAMES[name]:
            raise UserError(f"predictor.{name} is {value!r}, expected one of: {', '.join(NAMES[name])}")
        return value
    kinds, low, high, expected = CHECKS[name]
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise UserError(f"predictor.{name} is {value!r}, expected {expected}")
    return value
