"""Frame probabilities -> events: median filter, threshold, runs of active frames, minimum duration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .event import Event

THRESHOLD = 0.5  # probability that an active frame exceeds
EVENT_ENDS = ("last_frame", "next_frame")
MEDIAN_WIDTHS = ("as_computed", "odd")


@dataclass(frozen=True)
class Postprocessing:
    """How frame probabilities become events; both times in milliseconds, 0 switches a step off."""

    median_filter_ms: float
    min_duration_ms: float

    def __post_init__(self) -> None:
        for name in ("median_filter_ms", "min_duration_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}, expected milliseconds from 0 up")


def decode_grid(
    probabilities: np.ndarray,
    timestamps_ms: np.ndarray,
    labels: Sequence[str],
    postprocessings: Sequence[Postprocessing],
    *,
    event_end: str = "last_frame",
    median_widths: str = "as_computed",
) -> list[tuple[Event, ...]]:
    """Events of one clip, for each of several postprocessings; those of one median width share its work.

    For each label: a median filter along time, round(median_filter_ms / mean hop) frames wide and reflecting
    at the clip's ends; frames strictly above THRESHOLD are active; each run of active frames is an event
    from its first to its last frame's timestamp, kept if that is at least min_duration_ms long. The defaults
    are the HEAR 2021 rule. A clip of one frame has no hop: it is not filtered, and its events have length 0.

    Args:
        probabilities: (frames, labels) float.
        timestamps_ms: (frames,) strictly ascending.
        labels: the vocabulary.
        postprocessings: filter widths and minimum durations.
        event_end: ``last_frame``: the last active frame's timestamp, so that a single frame has length 0.
            ``next_frame``: one mean hop later.
        median_widths: ``as_computed``: even widths too, which shift events by half a frame.
            ``odd``: an even width becomes the next odd one.

    Returns:
        For each postprocessing its events, ordered by start, then by label index.

    Raises:
        ValueError: shapes that do not fit together, nan, timestamps that do not ascend, an unknown option.
    """
    probabilities, timestamps_ms = _checked(probabilities, timestamps_ms, len(labels))
    _choice("event_end", event_end, EVENT_ENDS)
    _choice("median_widths", median_widths, MEDIAN_WIDTHS)
    hop_ms = float(np.mean(np.diff(timestamps_ms))) if len(timestamps_ms) > 1 else 0.0
    active = probabilities > THRESHOLD  # compared in the array's own dtype, so that float32 stays float32
    runs_by_width: dict[int, _Runs] = {}
    events = []
    for postprocessing in postprocessings:
        width = _median_width(postprocessing.median_filter_ms, hop_ms, median_widths)
        if width not in runs_by_width:
            runs_by_width[width] = _runs(median_active(active, width), timestamps_ms)
        label, start, end = runs_by_width[width]
        if event_end == "next_frame":
            end = end + hop_ms
        kept = np.flatnonzero(end - start >= postprocessing.min_duration_ms)
        kept = kept[np.argsort(start[kept], kind="stable")]
        events.append(
            tuple(
                Event(labels[i], s, e)
                for i, s, e in zip(label[kept].tolist(), start[kept].tolist(), end[kept].tolist(), strict=True)
            )
        )
    return events


def median_active(active: np.ndarray, width: int) -> np.ndarray:
    """Where a median filter's output exceeds a threshold, from where its input does.

    The median of a window exceeds the threshold if and only if enough values of the window do, so counting
    replaces sorting, exactly. The conventions are those of scipy.ndimage.median_filter(x, size=(width, 1)):
    the window of frame t starts at t - width // 2, of an even number of values the upper middle one counts,
    and the clip is mirrored at its ends, the end frame included (d c b a | a b c d | d c b a).

    Args:
        active: (frames, labels) bool, input above the threshold.
        width: frames in the window; 0 and 1 change nothing.

    Returns:
        (frames, labels) bool.
    """
    frames = len(active)
    if width <= 1 or frames == 0:
        return active
    before = width // 2
    position = np.arange(-before, frames + width - 1 - before) % (2 * frames)  # the mirrored clip, repeated
    position = np.where(position < frames, position, 2 * frames - 1 - position)
    filtered = np.zeros_like(active)
    busy = np.flatnonzero(active.any(axis=0))  # most labels of a clip are silent
    count = np.zeros((len(position) + 1, len(busy)), dtype=np.int64)
    np.cumsum(active[:, busy][position], axis=0, out=count[1:])
    filtered[:, busy] = count[width:] - count[:-width] >= width - before
    return filtered


_Runs = tuple[np.ndarray, np.ndarray, np.ndarray]  # label index, first and last timestamp; each (runs,)


def _runs(active: np.ndarray, timestamps_ms: np.ndarray) -> _Runs:
    """Runs of consecutive active frames, ordered by label, then by time."""
    frames, labels = active.shape
    edges = np.zeros((labels, frames + 2), dtype=np.int8)
    edges[:, 1:-1] = active.T
    change = np.diff(edges, axis=1)
    label, first = np.nonzero(change == 1)
    after_last = np.nonzero(change == -1)[1]  # the same order, as runs of a label do not overlap
    return label, timestamps_ms[first], timestamps_ms[after_last - 1]


def _median_width(median_filter_ms: float, hop_ms: float, median_widths: str) -> int:
    if hop_ms == 0:
        return 0
    width = round(median_filter_ms / hop_ms)
    return width + 1 if median_widths == "odd" and width % 2 == 0 and width > 0 else width


def _checked(probabilities: np.ndarray, timestamps_ms: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    probabilities, timestamps_ms = np.asarray(probabilities), np.asarray(timestamps_ms, dtype=np.float64)
    if timestamps_ms.ndim != 1 or probabilities.shape != (len(timestamps_ms), labels):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} do not fit {timestamps_ms.shape} timestamps and "
            f"{labels} labels, expected (frames, labels)"
        )
    if np.isnan(probabilities).any():
        frame, label = np.argwhere(np.isnan(probabilities))[0]
        raise ValueError(f"the probability of label {label} at frame {frame} is nan (did training diverge?)")
    if not np.isfinite(timestamps_ms).all() or (np.diff(timestamps_ms) <= 0).any():
        raise ValueError("timestamps_ms must be finite and strictly ascending")
    return probabilities, timestamps_ms


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of: {', '.join(allowed)}")
