"""Labels and events <-> target rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scoring.event import Event
from .folder import Clip

END_TOLERANCE_MS = 1e-4


def scene_targets(clips: Sequence[Clip], labels: Sequence[str]) -> np.ndarray:
    """Which labels each clip has.

    Args:
        clips: clips of a scene task.
        labels: the vocabulary.

    Returns:
        (clips, labels) uint8, 1 where the clip has the label.

    Raises:
        ValueError: a label outside the vocabulary.
    """
    index = {label: i for i, label in enumerate(labels)}
    targets = np.zeros((len(clips), len(labels)), dtype=np.uint8)
    for row, clip in zip(targets, clips, strict=True):
        for label in clip.labels:
            row[_column(index, label, clip.name)] = 1
    return targets


def frame_targets(events: Sequence[Event], timestamps_ms: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Which labels are active at each frame: those of the events with start <= timestamp <= end.

    A timestamp less than END_TOLERANCE_MS past the end counts too, as in heareval: it takes up the rounding
    of timestamps that are computed as frame * hop. There is no such tolerance at the start.

    Args:
        events: events of one clip.
        timestamps_ms: (frames,) ascending.
        labels: the vocabulary.

    Returns:
        (frames, labels) uint8.

    Raises:
        ValueError: a label outside the vocabulary, or timestamps that do not ascend.
    """
    timestamps_ms = np.asarray(timestamps_ms, dtype=np.float64)
    if timestamps_ms.ndim != 1 or not (np.diff(timestamps_ms) >= 0).all():
        raise ValueError("timestamps_ms must be one ascending row of numbers")
    index = {label: i for i, label in enumerate(labels)}
    first = np.searchsorted(timestamps_ms, [event.start_ms for event in events], side="left")
    ends_ms = [event.end_ms + END_TOLERANCE_MS for event in events]
    after_last = np.searchsorted(timestamps_ms, ends_ms, side="left")
    targets = np.zeros((len(timestamps_ms), len(labels)), dtype=np.uint8)
    for event, begin, end in zip(events, first, after_last, strict=True):
        targets[begin:end, _column(index, event.label, str(event))] = 1
    return targets


def _column(index: dict[str, int], label: str, where: str) -> int:
    if label not in index:
        raise ValueError(f"{where}: label {label!r} is not in the vocabulary")
    return index[label]
