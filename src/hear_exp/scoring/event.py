"""A sound event: what predictions become and references are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """A labelled stretch of a clip; times in milliseconds from the clip's start."""

    label: str
    start_ms: float
    end_ms: float
