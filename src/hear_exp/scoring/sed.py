"""Predicted and reference events compared by sed_eval, its only importer; it loads when a score is computed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .figure import Figure, Figures

if TYPE_CHECKING:
    from .event import Event

Item = dict[str, Any]  # an event as sed_eval takes it, times in seconds
Pair = tuple[list[Item], list[Item]]  # reference and predicted events of a clip

NO_REFERENCE, NO_PREDICTION = "no event is annotated", "no event was predicted"


def pairs_of(
    predicted: Mapping[str, Sequence[Event]], reference: Mapping[str, Sequence[Event]], labels: Sequence[str]
) -> list[Pair]:
    """The events of every clip as sed_eval takes them.

    Args:
        predicted: clip name -> its predicted events, an entry for every clip.
        reference: clip name -> its true events, the same clips.
        labels: the vocabulary.

    Raises:
        ValueError: the clips of both mappings differ, an event has a label outside ``labels``, or its times are not
            finite or end before they start.
    """
    if predicted.keys() != reference.keys():
        missing = sorted(reference.keys() - predicted.keys())
        extra = sorted(predicted.keys() - reference.keys())
        raise ValueError(
            "predicted and reference events must cover the same clips (without events: an empty entry), but "
            f"{len(missing)} clips lack predictions {missing[:3]}, {len(extra)} lack a reference {extra[:3]}"
        )
    # The label's index stands for its name: dcase_util strips names and takes 'none' for no label.
    codes = {label: str(i) for i, label in enumerate(labels)}
    return [(_items(clip, reference[clip], codes), _items(clip, predicted[clip], codes)) for clip in reference]


def _items(clip: str, events: Sequence[Event], codes: Mapping[str, str]) -> list[Item]:
    items = []
    for event in events:
        if event.label not in codes:
            raise ValueError(f"{clip}: the label of {event} is not in the vocabulary")
        if not (math.isfinite(event.end_ms) and -math.inf < event.start_ms <= event.end_ms):
            raise ValueError(f"{clip}: {event} does not have finite times with start_ms <= end_ms")
        # Division by 1000.0 decides which onsets lie exactly a collar apart, as in the published scores.
        items.append(
            {
                "event_label": codes[event.label],
                "event_onset": event.start_ms / 1000.0,
                "event_offset": event.end_ms / 1000.0,
            }
        )
    return items


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of sed_eval's import (pkg_resources) and of its divisions by zero."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def f_measure(pairs: Sequence[Pair], *, t_collar: float, **settings: Any) -> Figures:
    """The F-measure of all clips' events, and NAME_precision and NAME_recall; ``settings``: EventBasedMetrics' own.

    nan where nothing is predicted or annotated.
    """
    with _quiet():
        from sed_eval.sound_event import EventBasedMetrics

        # No labels listed: the overall counts need none, and the class-wise ones would double the work.
        metric = EventBasedMetrics(event_label_list=[], evaluate_onset=True, t_collar=t_collar, **settings)
        for reference, predicted in pairs:
            for piece in _pieces(reference, predicted, t_collar):
                metric.evaluate(*piece)
        overall = {name: float(value) for name, value in metric.overall_f_measure().items()}
    parts = {
        "_precision": Figure(overall["precision"], NO_PREDICTION),
        "_recall": Figure(overall["recall"], NO_REFERENCE),
    }
    reasons = [figure.why_undefined for figure in parts.values() if math.isnan(figure.value)]
    return {"": Figure(overall["f_measure"], " and ".join(reasons)), **parts}


def _pieces(reference: list[Item], predicted: list[Item], collar: float, size: int = 24) -> Iterator[Pair]:
    """Cut a clip's events where no match can cross the cut, into pieces of about ``size`` events.

    sed_eval compares every reference event with every predicted one, in Python: 20 s for a clip with 5000.
    But events match only within a label and a collar of each other's onset, so matching the pieces one by
    one finds as many matches as matching the whole clip.
    """
    events = [(item["event_label"], item["event_onset"], 0, item) for item in reference]
    events += [(item["event_label"], item["event_onset"], 1, item) for item in predicted]
    events.sort(key=lambda event: event[:2])
    piece: Pair = ([], [])
    last: tuple[str, float] | None = None
    for label, onset, side, item in events:
        # sed_eval tests abs(onset - onset) <= collar, and rounding is monotonic: if these neighbours in order
        # of onset are too far apart, so is every pair around them.
        apart = last is not None and (label != last[0] or onset - last[1] > collar)
        if apart and len(piece[0]) + len(piece[1]) >= size:
            yield piece
            piece = ([], [])
        piece[side].append(item)
        last = (label, onset)
    if last is not None:
        yield piece


def error_rate(pairs: Sequence[Pair], **settings: Any) -> Figures:
    """Errors in all clips' segments by active segments of the reference; ``settings``: SegmentBasedMetrics' own.

    nan where the reference has no event. Raises ValueError for an event that starts below 0.
    """
    for clip in pairs:
        for item in (*clip[0], *clip[1]):
            if item["event_onset"] < 0:  # sed_eval would count it at the clip's end
                raise ValueError(f"segment_1s_er needs events from 0 ms up, got one at {item['event_onset']} s")
    # Labels that never occur add only true negatives, which the error rate does not count.
    used = sorted({item["event_label"] for pair in pairs for items in pair for item in items})
    with _quiet():
        from sed_eval.sound_event import SegmentBasedMetrics

        metric = SegmentBasedMetrics(event_label_list=used, **settings)
        for reference, predicted in pairs:
            metric.evaluate(reference, predicted)
        # sed_eval adds the smallest number there is to the divisor, and finds rates of 1e15.
        rate = float(metric.overall_error_rate()["error_rate"]) if metric.overall["Nref"] else math.nan
    return {"": Figure(rate, NO_REFERENCE)}
