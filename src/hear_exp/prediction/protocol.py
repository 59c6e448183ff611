"""The evaluation's switches: what HEAR 2021 did, quirk by quirk, and what one may mend."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..scoring.accuracy import MULTILABEL_ACCURACY

CHOICES = {
    "validation_without_events": ("stop", "zero"),
    "last_batch_of_one": ("error", "join"),
    "postprocessing_choice": ("largest", "best"),
    "event_end": ("last_frame", "next_frame"),
    "median_widths": ("as_computed", "odd"),
    "probabilities": ("float32", "float64"),
    "multilabel_accuracy": MULTILABEL_ACCURACY,
}


@dataclass(frozen=True)
class Protocol:
    """One evaluation protocol; conf/protocol/*.yaml say what each field does.

    ``grid_points`` None searches the whole grid. ``median_filter_ms`` and ``min_duration_ms`` span the grid of
    event postprocessings.
    """

    name: str
    grid_points: int | None
    grid_seed: int
    shuffle: bool
    validation_without_events: str
    last_batch_of_one: str
    postprocessing_choice: str
    event_end: str
    median_widths: str
    probabilities: str
    multilabel_accuracy: str
    median_filter_ms: tuple[float, ...]
    min_duration_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise UserError(f"protocol.name is {self.name!r}, expected a name")
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise UserError(f"protocol.{field} is {getattr(self, field)!r}, expected one of: {', '.join(allowed)}")
        if not isinstance(self.shuffle, bool):
            raise UserError(f"protocol.shuffle is {self.shuffle!r}, expected true or false")
        seed = self.grid_seed
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UserError(f"protocol.grid_seed is {seed!r}, expected a whole number")
        points = self.grid_points
        if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
            raise UserError(
                f"protocol.grid_points is {points!r}, expected a number from 1 up, or null for the whole grid"
            )
        for field in ("median_filter_ms", "min_duration_ms"):
            values = getattr(self, field)
            if not values or not all(_is_duration(value) for value in values):
                raise UserError(f"protocol.{field} is {list(values)!r}, expected milliseconds from 0 up")


def protocol_from_config(config: Mapping[str, Any]) -> Protocol:
    """The protocol that a config group describes; one value or a list for the postprocessing fields."""
    values = dict(config)
    fields = [field.name for field in dataclasses.fields(Protocol)]
    for name in values:
        if name not in fields:
            raise UserError(f"unknown option: protocol.{name}; a protocol has: {', '.join(fields)}")
    for name in fields:
        if name not in values:
            raise UserError(f"protocol.{name} is missing; conf/protocol/hear2021.yaml has all that a protocol needs")
    for field in ("median_filter_ms", "min_duration_ms"):
        value = values[field]
        values[field] = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return Protocol(**values)


def _is_duration(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < math.inf


def changed_fields(protocol: Protocol, published: Protocol) -> dict[str, Any]:
    """Fields in which ``protocol`` differs from the one it is named after."""
    ours, theirs = dataclasses.asdict(protocol), dataclasses.asdict(published)
    return {name: value for name, value in ours.items() if value != theirs[name]}
