"""Every score by name: SCORES says what each one is, scene_scores and event_scores compute them.

To add a score, add an entry to SCORES: the function that computes it, its settings, and whether higher is better.
Scene scores compare probabilities with 0/1 targets, both (clips, labels). Event scores compare predicted with
reference events clip by clip and pool all clips of a split into one overall figure. A score that is undefined is nan
and says why; d_prime may be infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .accuracy import accuracy
from .figure import Figures
from .label_means import mean_average_precision, mean_d_prime, mean_roc_area
from .scenes import Scenes, checked_scenes
from .sed import Pair, error_rate, f_measure, pairs_of

if TYPE_CHECKING:
    from .event import Event

OnUndefined = Callable[[str, str], None]  # score name, reason in words


@dataclass(frozen=True)
class Score:
    """What a score's name stands for: ``compute`` is called with the data of its kind, and ``settings`` by name."""

    compute: Callable[..., Figures]
    settings: Mapping[str, Any] = field(default_factory=dict)
    higher_is_better: bool = True
    kind: ClassVar[str]


class SceneScore(Score):
    """A score of whole clips: ``compute`` takes the split's ``Scenes``."""

    kind = "scene"


class EventScore(Score):
    """A score of events in time: ``compute`` takes a ``Pair`` for each clip, ``settings`` are sed_eval's (seconds)."""

    kind = "event"


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "top1_acc": SceneScore(accuracy),
        "pitch_acc": SceneScore(accuracy),
        "chroma_acc": SceneScore(accuracy, {"modulo": 12}),
        "mAP": SceneScore(mean_average_precision),
        "d_prime": SceneScore(mean_d_prime),
        "aucroc": SceneScore(mean_roc_area),
        "event_onset_200ms_fms": EventScore(f_measure, {"evaluate_offset": False, "t_collar": 0.2}),
        "event_onset_50ms_fms": EventScore(f_measure, {"evaluate_offset": False, "t_collar": 0.05}),
        "event_onset_offset_50ms_20perc_fms": EventScore(
            f_measure, {"evaluate_offset": True, "t_collar": 0.05, "percentage_of_length": 0.2}
        ),
        "segment_1s_er": EventScore(error_rate, {"time_resolution": 1.0}, higher_is_better=False),
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


def _info(name: str) -> Score:
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}, expected one of: {', '.join(SCORES)}")
    return SCORES[name]


def scene_scores(
    names: Sequence[str],
    probabilities: np.ndarray,
    targets: np.ndarray,
    *,
    multilabel_accuracy: str | None = None,
    labels: Sequence[str] = (),
    on_undefined: OnUndefined = lambda name, reason: None,
) -> dict[str, float]:
    """Scores of clip predictions.

    top1_acc and pitch_acc: share of clips whose most probable label is the target (of tied labels the first
    one counts). chroma_acc: the same with both indices mod 12. A clip with any number of labels is refused
    unless ``multilabel_accuracy`` says what to do: ``first_label`` takes the first one set for the target, and
    label 0 where none is set, as heareval does; ``any_label`` counts a hit on any of them and leaves clips
    without labels out (nan if that leaves none). mAP, aucroc, d_prime: means over labels of
    average precision, of the area under the ROC curve, and of sqrt(2) times that area's normal quantile.

    A label that no clip has leaves these three means undefined, and so does one that every clip has for
    aucroc and d_prime. Such labels are left out of the mean, which a warning in the log says once; the mean is nan
    if none is left. A perfectly separated label makes d_prime inf, and one that is perfectly the wrong way round
    makes it -inf; both together give nan. With d_prime comes d_prime_finite, the mean over the labels whose d' is
    finite.

    Args:
        names: scores of kind scene.
        probabilities: (clips, labels) float in [0, 1]; float32 keeps the ties that float32 has.
        targets: (clips, labels), 0 or 1.
        multilabel_accuracy: first_label, any_label, or None: for an accuracy the targets must be one-hot.
        labels: the vocabulary, for what is said about labels; without it they are called by their index.
        on_undefined: called with name and reason for each score that is nan.

    Returns:
        Score by name, in the order of ``names``; for d_prime also d_prime_finite.

    Raises:
        ValueError: no clips, shapes that differ, probabilities that are nan or outside [0, 1], targets other
            than 0 and 1 (or not one-hot, for an accuracy), or an unknown score.

    Source:
        Hershey et al. 2017, CNN Architectures for Large-Scale Audio Classification (d-prime).
    """
    chosen = _of_kind(names, "scene")
    return _computed(chosen, checked_scenes(probabilities, targets, labels, multilabel_accuracy), on_undefined)


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
    chosen = _of_kind(names, "event")
    return _computed(chosen, pairs_of(predicted, reference, labels), on_undefined)


def _of_kind(names: Sequence[str], kind: str) -> list[tuple[str, Score]]:
    for name in names:
        if score_kind(name) != kind:
            raise ValueError(f"score {name!r} is for {score_kind(name)} tasks, expected a score for {kind} tasks")
    return [(name, SCORES[name]) for name in names]


def _computed(
    chosen: Sequence[tuple[str, Score]], data: Scenes | Sequence[Pair], on_undefined: OnUndefined
) -> dict[str, float]:
    scores = {}
    for name, score in chosen:
        for part, figure in score.compute(data, **score.settings).items():
            scores[name + part] = figure.value
            if math.isnan(figure.value):
                on_undefined(name + part, figure.why_undefined)
    return scores
