"""Every score by name.

Scene scores compare probabilities with 0/1 targets, both (clips, labels). Event scores compare predicted with
reference events clip by clip and pool all clips of a split into one overall figure. A score that is undefined is nan
and says why; d_prime may be infinite.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import listed
from .accuracy import accuracy
from .ranking import average_precision, curve_counts, d_prime, roc_area
from .sed import error_rate, f_measure, items_of

if TYPE_CHECKING:
    from .event import Event

logger = logging.getLogger(__name__)

OnSkipped = Callable[[str, tuple[int, ...]], None]  # score name, indices of the labels left out
OnUndefined = Callable[[str, str], None]  # score name, reason in words


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
    labels: Sequence[str] = (),
    on_skipped: OnSkipped | None = None,
    on_undefined: OnUndefined = lambda name, reason: None,
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
    d_prime inf, and one that is perfectly the wrong way round makes it -inf; both together give nan. With d_prime
    comes d_prime_finite, the mean over the labels whose d' is finite.

    Args:
        names: scores of kind scene.
        probabilities: (clips, labels) float in [0, 1]; float32 keeps the ties that float32 has.
        targets: (clips, labels), 0 or 1.
        multilabel_accuracy: first_label, any_label, or None: for an accuracy the targets must be one-hot.
        labels: the vocabulary, for what is said about labels; without it they are called by their index.
        on_skipped: called once for each score that left labels out.
        on_undefined: called with name and reason for each score that is nan.

    Returns:
        Score by name, in the order of ``names``; for d_prime also d_prime_finite.

    Raises:
        ValueError: no clips, shapes that differ, probabilities that are nan or outside [0, 1], targets other
            than 0 and 1 (or not one-hot, for an accuracy), or an unknown score.

    Source:
        Hershey et al. 2017, CNN Architectures for Large-Scale Audio Classification (d-prime).
    """
    _check_kind(names, "scene")
    probabilities, targets = _checked(probabilities, targets)
    named = tuple(labels) or tuple(str(i) for i in range(targets.shape[1]))
    tell_skipped = on_skipped or (lambda name, skipped: _log_skipped(named, skipped))
    counts = None  # the ROC curves, made once for all scores that need them
    scores = {}
    for name in names:
        if name in ("top1_acc", "pitch_acc", "chroma_acc"):
            octaves = 12 if name == "chroma_acc" else None
            scores[name] = accuracy(probabilities, targets, multilabel_accuracy, modulo=octaves)
            if math.isnan(scores[name]):
                on_undefined(name, "no clip has a label")
            continue
        counts = curve_counts(probabilities, targets) if counts is None else counts
        per_label = {"mAP": average_precision, "aucroc": roc_area, "d_prime": d_prime}[name]
        values = np.array([per_label(*c) for c in counts])
        scores[name] = _macro(name, values, tell_skipped)
        if math.isnan(scores[name]):
            on_undefined(name, _why_undefined(name, values, named))
        if name == "d_prime":
            finite = values[np.isfinite(values)]
            scores["d_prime_finite"] = float(finite.mean()) if len(finite) else math.nan
            if not len(finite):
                on_undefined("d_prime_finite", "no label has a finite d'")
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
    return np.array([average_precision(*c) for c in curve_counts(*_checked(probabilities, targets))])


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


def _macro(name: str, values: np.ndarray, on_skipped: OnSkipped) -> float:
    skipped = np.isnan(values)
    if skipped.any():
        on_skipped(name, tuple(np.flatnonzero(skipped).tolist()))
    if skipped.all():
        return math.nan
    with np.errstate(invalid="ignore"):  # inf - inf
        return float(values[~skipped].mean())


def _why_undefined(name: str, values: np.ndarray, labels: Sequence[str]) -> str:
    """Why the mean of ``values`` over labels is nan."""
    if np.isnan(values).all():
        return "no clip has a label" if name == "mAP" else "every label is one that no clip has, or every clip"
    best, worst = ([labels[i] for i in np.flatnonzero(values == end).tolist()] for end in (math.inf, -math.inf))
    return (
        f"some labels are perfectly separated ({listed(best)}), others perfectly the wrong way round "
        f"({listed(worst)}): inf - inf"
    )


@functools.cache  # said once: a search scores the same labels hundreds of times
def _log_skipped(labels: tuple[str, ...], skipped: tuple[int, ...]) -> None:
    logger.warning(
        "scores that are means over labels leave out %d of %d labels, which no clip (or every clip) has: %s",
        len(skipped),
        len(labels),
        listed([labels[i] for i in skipped]),
    )


# Event scores -----------------------------------------------------------------------------------------------


def event_scores(
    names: Sequence[str],
    predicted: Mapping[str, Sequence[Event]],
    reference: Mapping[str, Sequence[Event]],
    labels: Sequence[str],
    *,
    on_undefined: OnUndefined = lambda name, reason: None,
) -> dict[str, float]:
    """Scores of predicted events, all clips pooled.

    event_onset_*_fms: F-measure of events matched one to one within their clip: same label, onsets (and, for
    event_onset_offset_*, offsets) no further apart than the collar; an offset may also be off by 20 % of the
    reference event's length. NAME_precision and NAME_recall come with it. segment_1s_er: substitutions,
    deletions and insertions over one-second segments, divided by the reference's active segments.

    Without any predicted event precision and F-measure are nan, without any reference event recall and
    F-measure are, as in sed_eval: the caller decides what that is worth. Without any reference event the
    error rate is nan too, where sed_eval divides by the smallest number there is.

    Args:
        names: scores of kind event.
        predicted: clip name -> its predicted events, an entry for every clip, empty ones too.
        reference: clip name -> its true events, the same clips.
        labels: the vocabulary.
        on_undefined: called with name and reason for each score that is nan.

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
    pairs = [(items_of(clip, reference[clip], codes), items_of(clip, predicted[clip], codes)) for clip in reference]
    scores: dict[str, float] = {}
    for name in names:
        if name == "segment_1s_er":
            scores[name] = error_rate(pairs, SCORES[name].settings)
            reasons = {name: "no event is annotated"}
        else:
            found = f_measure(pairs, SCORES[name].settings)
            scores[name] = found["f_measure"]
            scores[f"{name}_precision"] = found["precision"]
            scores[f"{name}_recall"] = found["recall"]
            reasons = {f"{name}_precision": "no event was predicted", f"{name}_recall": "no event is annotated"}
            missing = [reason for part, reason in reasons.items() if math.isnan(scores[part])]
            reasons = {name: " and ".join(missing), **reasons}
        for part, reason in reasons.items():
            if math.isnan(scores[part]):
                on_undefined(part, reason)
    return scores


def _check_clips(predicted: Mapping[str, Sequence[Event]], reference: Mapping[str, Sequence[Event]]) -> None:
    if predicted.keys() != reference.keys():
        missing = sorted(reference.keys() - predicted.keys())
        extra = sorted(predicted.keys() - reference.keys())
        raise ValueError(
            "predicted and reference events must cover the same clips (without events: an empty entry), but "
            f"{len(missing)} clips lack predictions {missing[:3]}, {len(extra)} lack a reference {extra[:3]}"
        )
