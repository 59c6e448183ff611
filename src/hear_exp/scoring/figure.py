"""A figure of a score: what every function that computes a score answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number, and in words the reason why it is undefined where it is nan."""

    value: float
    why_undefined: str


# By what follows the score's name: "" is the score itself, "_recall" one that comes with it as NAME_recall.
Figures = Mapping[str, Figure]
