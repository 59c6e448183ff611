"""Every score by name; the only importer of torchmetrics and sed_eval, which load when a score is computed.

Scene scores compare probabilities with 0/1 targets, both (clips, labels). Event scores compare predicted with
reference events clip by clip and pool all clips of a split into one overall figure.
"""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .task import Event

logger = logging.getLogger(__name__)

MULTILABEL_ACCURACY = ("first_label", "any_label")

OnSkipped = Callable[[str, tuple[int, ...]], None]


@dataclass(frozen=True)
class ScoreInfo:
    """What a score name stands for; ``settings`` are those of the sed_eval metric, in seconds."""

    kind: str  # scene | event
    higher_is_better: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


SCORES: Mapping[str, ScoreInfo] = MappingProxyType(
    {
        "top1_acc": ScoreInfo("scene"),
        "pitch_acc": ScoreInfo("scene"),
        "chroma_acc": ScoreInfo("scene"),
        "mAP": ScoreInfo("scene"),
        "d_prime": ScoreInfo("scene"),
        "aucroc": ScoreInfo("scene"),
        "event_onset_200ms_fms": ScoreInfo("event", settings={"evaluate_offset": False, "t_collar": 0.2}),
        "event_onset_50ms_fms": ScoreInfo("event", settings={"evaluate_offset": False, "t_collar": 0.05}),
        "event_onset_offset_50ms_20perc_fms": ScoreInfo(
            "event", settings={"evaluate_offset": True, "t_collar": 0.05, "percentage_of_length": 0.2}
        ),
        "segment_1s_er": ScoreInfo("event", higher_is_better=False, settings={"time_resolution": 1.0}),
    }
)


def score_kind(name: str) -> str:
    """``scene`` or ``event``: what kind of task the score called ``name`` is for.

    Raises ValueError for an unknown name.
    """
    return _info(name).kind


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the score called ``name`` is the better one.

    Raises ValueError for an unknown name.
    """
    return _info(name).higher_is_better


def _info(name: str) -> ScoreInfo:
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}, expected one of: {', '.join(SCORES)}")
    return SCORES[name]


def _check_kind(names: Sequence[str], kind: str) -> None:
    for name in names:
        if score_kind(name) != kind:
            raise ValueError(f"score {name!r} is for {score_kind(name)} tasks, expected a score for {kind} tasks")


# Scene scores -----------------------------------------------------------------------------------------------


def scene_scores(
    names: Sequence[str],
    probabilities: np.ndarray,
    targets: np.ndarray,
    *,
    multilabel_accuracy: str | None = None,
    on_skipped: OnSkipped | None = None,
) -> dict[str, float]:
    """Scores of clip predictions.

    top1_acc and pitch_acc: share of clips whose most probable label is the target (of tied labels the first
    one counts). chroma_acc: the same with both indices mod 12. A clip with any number of labels, which is refused
    unless ``multilabel_accuracy`` says what to do: ``first_label`` takes the first one set for the target, and
    label 0 where none is set, as heareval does; ``any_label`` counts a hit on any of them and leaves clips
    without labels out (nan if that leaves none). mAP, aucroc, d_prime: means over labels of
    average precision, of the area under the ROC curve, and of sqrt(2) times that area's normal quantile.

    A label that no clip has leaves these three means undefined, and so does one that every clip has for
    aucroc and d_prime. Such labels are left out of the mean and ``on_skipped(name, label_indices)`` is told
    (default: a warning in the log, once); the mean is nan if none is left. A perfectly separated label makes
    d_prime inf, and one that is perfectly the wrong way round makes it -inf; both together give nan.

    Args:
        names: scores of kind scene.
        probabilities: (clips, labels) float in [0, 1]; float32 keeps the ties that float32 has.
        targets: (clips, labels), 0 or 1.
        multilabel_accuracy: first_label, any_label, or None: for an accuracy the targets must be one-hot.
        on_skipped: called once for each score that left labels out.

    Returns:
        Score by name, in the order of ``names``.

    Raises:
        ValueError: no clips, shapes that differ, probabilities that are nan or outside [0, 1], targets other
            than 0 and 1 (or not one-hot, for an accuracy), or an unknown score.

    Source:
        Hershey et al. 2017, CNN Architectures for Large-Scale Audio Classification (d-prime).
    """
    _check_kind(names, "scene")
    probabilities, targets = _checked(probabilities, targets)
    counts = None  # the ROC curves, made once for all scores that need them
    scores = {}
    for name in names:
        if name in ("top1_acc", "pitch_acc"):
            scores[name] = _accuracy(probabilities, targets, multilabel_accuracy)
        elif name == "chroma_acc":
            scores[name] = _accuracy(probabilities, targets, multilabel_accuracy, modulo=12)
        else:
            counts = _curve_counts(probabilities, targets) if counts is None else counts
            per_label = {"mAP": _average_precision, "aucroc": _roc_area, "d_prime": _d_prime}[name]
            scores[name] = _macro(name, np.array([per_label(*c) for c in counts]), on_skipped or _log_skipped)
    return scores


def per_class_average_precision(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Average precision of each label.

    Args:
        probabilities: (clips, labels) float in [0, 1].
        targets: (clips, labels), 0 or 1.

    Returns:
        (labels,) float64, nan for labels that no clip has.

    Raises:
        ValueError: as for scene_scores.
    """
    return np.array([_average_precision(*c) for c in _curve_counts(*_checked(probabilities, targets))])


def _checked(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    if probabilities.ndim != 2 or probabilities.shape != targets.shape:
        raise ValueError(
            "probabilities and targets must both be (clips, labels), "
            f"got shapes {probabilities.shape} and {targets.shape}"
        )
    if probabilities.size == 0:
        raise ValueError(f"nothing to score: probabilities have shape {probabilities.shape} (clips, labels)")
    probabilities = probabilities.astype(np.float64)
    # torchmetrics would take anything outside [0, 1] for logits and squash all of it, which can make ties.
    wrong = ~((probabilities >= -1e-6) & (probabilities <= 1 + 1e-6))
    if wrong.any():
        clip, label = np.argwhere(wrong)[0]
        raise ValueError(
            f"probabilities[{clip}, {label}] is {probabilities[clip, label]} (one of {wrong.sum()} such), "
            "expected a number in [0, 1]: nan means that training diverged, other values may be logits"
        )
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets hold values other than 0 and 1")
    return probabilities.clip(0, 1), targets.astype(np.int64)  # clip: weights that sum to 1 but for rounding


def _accuracy(probabilities: np.ndarray, targets: np.ndarray, rule: str | None, modulo: int | None = None) -> float:
    if rule not in (None, *MULTILABEL_ACCURACY):
        raise ValueError(f"multilabel_accuracy is {rule!r}, expected one of: {', '.join(MULTILABEL_ACCURACY)}")
    count = targets.sum(axis=1)
    if rule is None and (count != 1).any():
        clip = int(np.argmax(count != 1))
        raise ValueError(
            f"accuracy needs exactly one label a clip, but clip {clip} has {count[clip]}"
            " (multilabel_accuracy says what it is of clips with several)"
        )
    classes = np.arange(targets.shape[1]) % (modulo or targets.shape[1])
    predicted = classes[probabilities.argmax(axis=1)]
    if rule == "any_label":
        hits = ((predicted[:, np.newaxis] == classes) & (targets == 1)).any(axis=1)[count > 0]
    else:
        hits = predicted == classes[targets.argmax(axis=1)]
    return int(hits.sum()) / len(hits) if len(hits) else math.nan


def _curve_counts(probabilities: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """False and true positives at each distinct threshold, descending, from 0, for each label.

    torchmetrics divides its counts in float32, and a normal quantile near 1 blows that error up. The rates it
    returns are fractions of known whole numbers, so rounding gives the counts back exactly.
    """
    import torch
    from torchmetrics.functional.classification import binary_roc

    # Below this many clips, rounding a float32 rate times the number of clips is exact.
    assert len(targets) < 2**22, f"{len(targets)} clips are more than float32 rates can count"
    counts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels without positives or negatives, which the callers treat
        for probability, target in zip(probabilities.T.copy(), targets.T.copy(), strict=True):
            # validate_args repeats, label by label, what _checked has done for all
            false_rate, true_rate, _ = binary_roc(
                torch.from_numpy(probability), torch.from_numpy(target), thresholds=None, validate_args=False
            )
            positives = target.sum()
            counts.append(
                (
                    np.rint(false_rate.double().numpy() * (len(target) - positives)),
                    np.rint(true_rate.double().numpy() * positives),
                )
            )
    return counts


def _average_precision(false: np.ndarray, true: np.ndarray) -> float:
    if true[-1] == 0:
        return math.nan
    precision = true[1:] / (true[1:] + false[1:])
    return float(np.sum(np.diff(true) * precision) / true[-1])


def _roc_area(false: np.ndarray, true: np.ndarray) -> float:
    if true[-1] == 0 or false[-1] == 0:
        return math.nan
    # Twice the area in units of counts: whole numbers, so that the only rounding is in the division.
    return float(np.sum(np.diff(false) * (true[1:] + true[:-1])) / (2 * true[-1] * false[-1]))


def _d_prime(false: np.ndarray, true: np.ndarray) -> float:
    from scipy.special import ndtri

    return math.sqrt(2) * float(ndtri(_roc_area(false, true)))


def _macro(name: str, values: np.ndarray, on_skipped: OnSkipped) -> float:
    skipped = np.isnan(values)
    if skipped.any():
        on_skipped(name, tuple(np.flatnonzero(skipped).tolist()))
    if skipped.all():
        return math.nan
    with np.errstate(invalid="ignore"):  # inf - inf
        return float(values[~skipped].mean())


@functools.cache  # said once: a search scores the same labels hundreds of times
def _log_skipped(name: str, labels: tuple[int, ...]) -> None:
    logger.warning(
        "%s leaves out %d labels that no clip (or every clip) has: indices %s",
        name,
        len(labels),
        list(labels),
    )


# Event scores -----------------------------------------------------------------------------------------------


def event_scores(
    names: Sequence[str],
    predicted: Mapping[str, Sequence[Event]],
    reference: Mapping[str, Sequence[Event]],
    labels: Sequence[str],
) -> dict[str, float]:
    """Scores of predicted events, all clips pooled.

    event_onset_*_fms: F-measure of events matched one to one within their clip: same label, onsets (and, for
    event_onset_offset_*, offsets) no further apart than the collar; an offset may also be off by 20 % of the
    reference event's length. NAME_precision and NAME_recall come with it. segment_1s_er: substitutions,
    deletions and insertions over one-second segments, divided by the reference's active segments.

    Without any predicted event precision and F-measure are nan, without any reference event recall and
    F-measure are, as in sed_eval: the caller decides what that is worth. Without any reference event the
    error rate is 0 if nothing is predicted, else astronomically large.

    Args:
        names: scores of kind event.
        predicted: clip name -> its predicted events, an entry for every clip, empty ones too.
        reference: clip name -> its true events, the same clips.
        labels: the vocabulary.

    Returns:
        Score by name; for F-measures NAME, NAME_precision and NAME_recall.

    Raises:
        ValueError: the clips of both mappings differ, an event has a label outside ``labels``, a time is not
            finite or an event ends before it starts (or starts below 0, for segment_1s_er), or an unknown
            score.

    Source:
        Mesaros, Heittola, Virtanen 2016, Metrics for Polyphonic Sound Event Detection; sed_eval.
    """
    _check_kind(names, "event")
    _check_clips(predicted, reference)
    codes = {label: str(i) for i, label in enumerate(labels)}
    pairs = [(_items(clip, reference[clip], codes), _items(clip, predicted[clip], codes)) for clip in reference]
    scores: dict[str, float] = {}
    for name in names:
        if name == "segment_1s_er":
            scores[name] = _error_rate(pairs, SCORES[name].settings)
        else:
            f_measure = _f_measure(pairs, SCORES[name].settings)
            scores[name] = f_measure["f_measure"]
            scores[f"{name}_precision"] = f_measure["precision"]
            scores[f"{name}_recall"] = f_measure["recall"]
    return scores


Item = dict[str, Any]  # an event as sed_eval takes it, times in seconds
Pair = tuple[list[Item], list[Item]]  # reference and predicted events of a clip


def _check_clips(predicted: Mapping[str, Sequence[Event]], reference: Mapping[str, Sequence[Event]]) -> None:
    if predicted.keys() != reference.keys():
        missing = sorted(reference.keys() - predicted.keys())
        extra = sorted(predicted.keys() - reference.keys())
        raise ValueError(
            "predicted and reference events must cover the same clips (without events: an empty entry), but "
            f"{len(missing)} clips lack predictions {missing[:3]}, {len(extra)} lack a reference {extra[:3]}"
        )


def _items(clip: str, events: Sequence[Event], codes: Mapping[str, str]) -> list[Item]:
    items = []
    for event in events:
        if event.label not in codes:
            raise ValueError(f"{clip}: the label of {event} is not in the vocabulary")
        if not (math.isfinite(event.end_ms) and -math.inf < event.start_ms <= event.end_ms):
            raise ValueError(f"{clip}: {event} does not have finite times with start_ms <= end_ms")
        # The label's index stands for its name: dcase_util strips names and takes 'none' for no label.
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


def _f_measure(pairs: Sequence[Pair], settings: Mapping[str, Any]) -> dict[str, float]:
    with _quiet():
        from sed_eval.sound_event import EventBasedMetrics

        # No labels listed: the overall counts need none, and the class-wise ones would double the work.
        metric = EventBasedMetrics(event_label_list=[], evaluate_onset=True, **settings)
        for reference, predicted in pairs:
            for piece in _pieces(reference, predicted, settings["t_collar"]):
                metric.evaluate(*piece)
        return {name: float(value) for name, value in metric.overall_f_measure().items()}


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


def _error_rate(pairs: Sequence[Pair], settings: Mapping[str, Any]) -> float:
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
        return float(metric.overall_error_rate()["error_rate"])
