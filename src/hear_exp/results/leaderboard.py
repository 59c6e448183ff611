"""The published HEAR 2021 scores, and where a score stands among them.

data/leaderboard.csv holds them in long form (model, task, score), with its source. A score's task is known by its
metadata's task_name and mode, since the small version of a task is not the one that was published.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from ..errors import UserError
from ..tasks.folder import Task

# (task_name, mode) of an archive's metadata -> the leaderboard's task, its metric and the version in the
# archive's metadata. BeeHive is not among them: its
# published score is the mean of two tasks, beehive_states_fold0 and beehive_states_fold1.
TASKS: Mapping[tuple[str, str], tuple[str, str, str]] = MappingProxyType(
    {
        ("beijing_opera", "full"): ("beijing_opera", "top1_acc", "v1.0-hear2021"),
        ("dcase2016_task2", "full"): ("dcase2016", "event_onset_200ms_fms", "hear2021"),
        ("esc50", "full"): ("esc50", "top1_acc", "v2.0.0"),
        ("fsd50k", "full"): ("fsd50k", "mAP", "v1.0"),
        ("gunshot_triangulation", "full"): ("gunshot_triangulation", "top1_acc", "v1.0"),
        ("libricount", "full"): ("libricount", "top1_acc", "v1.0.0-hear2021"),
        ("maestro", "5h"): ("maestro_5h", "event_onset_50ms_fms", "v3.0.0"),
        ("mridangam_stroke", "full"): ("mridangam_stroke", "top1_acc", "v1.5"),
        ("mridangam_tonic", "full"): ("mridangam_tonic", "top1_acc", "v1.5"),
        ("nsynth_pitch", "50h"): ("nsynth_pitch_50h", "pitch_acc", "v2.2.3"),
        ("nsynth_pitch", "5h"): ("nsynth_pitch_5h", "pitch_acc", "v2.2.3"),
        ("speech_commands", "5h"): ("speech_commands_5h", "top1_acc", "v0.0.2"),
        ("speech_commands", "full"): ("speech_commands_full", "top1_acc", "v0.0.2"),
        ("tfds_crema_d", "full"): ("crema_d", "top1_acc", "1.0.0"),
        ("tfds_gtzan", "full"): ("gtzan_genre", "top1_acc", "1.0.0"),
        ("tfds_gtzan_music_speech", "full"): ("gtzan_music_speech", "top1_acc", "1.0.0"),
        ("vocal_imitation", "full"): ("vocal_imitation", "mAP", "v1.1.3"),
        ("vox_lingua_top10", "full"): ("vox_lingua_top10", "top1_acc", "hear2021"),
    }
)


PROTOCOL, PREDICTOR, PRECISION = "hear2021", "mlp", "32-true"  # of the published scores
PREDICTOR_CLASS = "hear_exp.prediction.mlp.MLP"


@dataclass(frozen=True)
class Rank:
    """A score among the published ones of a task: the ``rank``-th of ``of`` scores, itself included.

    Equal scores share the better rank, and ``tied`` names their models. ``better_model`` and ``worse_model`` are
    the nearest with another score (None at either end). Only a ``comparable`` score was found as the published ones
    were; else ``why_not`` says what differs.
    """

    task: str
    rank: int
    of: int
    tied: tuple[str, ...] = ()
    better_model: str | None = None
    better_score: float | None = None
    worse_model: str | None = None
    worse_score: float | None = None
    comparable: bool = True
    why_not: str = ""


@functools.cache
def published_scores() -> Mapping[str, Mapping[str, float]]:
    """Task -> model -> score; higher is better in all of them. A model without a score for a task is left out."""
    text = (resources.files("hear_exp") / "data" / "leaderboard.csv").read_text(encoding="utf-8")
    scores: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        scores.setdefault(row["task"], {})[row["model"]] = float(row["score"])
    return scores


def leaderboard_task(task: Task) -> str | None:
    """What the leaderboard calls ``task``; None for a task, a size of it or a primary metric that it does not have."""
    name, metric, _ = TASKS.get((task.name, task.mode), (None, None, None))
    return name if metric == task.primary_metric else None


def published_version(task: Task) -> str | None:
    """The version of the archive that the published scores of ``task`` come from; None for one without any."""
    return TASKS.get((task.name, task.mode), (None, None, None))[2]


def differences(
    *,
    protocol: str,
    protocol_changes: Mapping[str, Any],
    predictor: str,
    predictor_class: str = PREDICTOR_CLASS,
    points: Sequence[Mapping[str, Any]],
    published_points: Sequence[Mapping[str, Any]],
    precision: str,
    version: str = "",
    published_version: str | None = None,
) -> tuple[str, ...]:
    """In what an evaluation differs from the one of the published scores, in words; empty where in nothing.

    Args:
        protocol: the protocol's name.
        protocol_changes: fields of it that were changed.
        predictor: the predictor's name.
        predictor_class: the dotted name of its class, which somebody's own predictor may have under the same name.
        points: the grid points that were searched.
        published_points: those that were searched for the published scores of the task.
        precision: of the predictor's training, in Lightning's words.
        version: the task's, as its metadata has it.
        published_version: that of the published archive; None where there is none.
    """
    found = []
    if published_version is not None and version != published_version:
        found.append(f"version {version or 'unknown'} of the task, published: {published_version}")
    if protocol != PROTOCOL:
        found.append(f"protocol {protocol}, published: {PROTOCOL}")
    if protocol_changes:
        found.append(f"changed in the protocol: {', '.join(protocol_changes)}")
    if predictor != PREDICTOR:
        found.append(f"predictor {predictor}, published: {PREDICTOR}")
    elif predictor_class != PREDICTOR_CLASS:
        found.append(f"predictor {predictor} is a {predictor_class}, published: {PREDICTOR_CLASS}")
    elif protocol == PROTOCOL and not protocol_changes:  # else its grid is another one anyway
        names = sorted({name for point in (*points, *published_points) for name in point})
        changed = [name for name in names if _values(points, name) != _values(published_points, name)]
        if changed:
            found.append(f"changed in the predictor: {', '.join(changed)}")
        elif list(points) != list(published_points):
            found.append("other grid points than the published ones")
    if precision != PRECISION:
        found.append(f"precision {precision}, published: {PRECISION}")
    return tuple(found)


def _values(points: Sequence[Mapping[str, Any]], name: str) -> set[str]:
    return {str(point.get(name)) for point in points}


def rank(task_name: str, score: float, why_not: Sequence[str] = ()) -> Rank:
    """Where ``score`` stands among the published scores of ``task_name``, the leaderboard's name of a task.

    ``why_not``: in what the evaluation differs from the published one.

    Raises UserError for a task that is not on the leaderboard.
    """
    published = published_scores()
    if task_name not in published:
        raise UserError(
            f"{task_name!r} is not on the HEAR leaderboard, whose tasks are: {', '.join(sorted(published))}"
        )
    others = published[task_name]
    better = min(((s, m) for m, s in others.items() if s > score), default=(None, None))
    worse = max(((s, m) for m, s in others.items() if s < score), default=(None, None))
    return Rank(
        task=task_name,
        rank=1 + sum(s > score for s in others.values()),
        of=len(others) + 1,
        tied=tuple(sorted(model for model, s in others.items() if s == score)),
        better_model=better[1],
        better_score=better[0],
        worse_model=worse[1],
        worse_score=worse[0],
        comparable=not why_not,
        why_not="; ".join(why_not),
    )
