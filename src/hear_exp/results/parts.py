"""A task that HEAR published in parts, each a task of its own: one result from theirs.

BeeHive is the only one: two hives, each the test set of one part. Its published score is the mean of two whole
evaluations, so each part is embedded, searched and tested as the task that it is. Its parts become the folds of the
result; as folds of one task the second one would get the hyperparameters that suit the first one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .gather import fold_scores, ranked, undefined_scores
from .result import Result
from .task_id import joined

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome
    from ..prediction.search import OnFit

PUBLISHED_MODE = "full"  # the size of such a task that was published


def fit_of_part(index: int, part: str, on_fit: OnFit) -> OnFit:
    """``on_fit`` for the fits of the ``index``-th part: to a record of the whole run they are fold PART/SPLIT."""

    def told(fit: FitOutcome) -> None:
        fold = dataclasses.replace(fit.job.fold, test=f"{part}/{fit.job.fold.test}")
        on_fit(dataclasses.replace(fit, job=dataclasses.replace(fit.job, fold_index=index, fold=fold)))

    return told


def join_results(task: str, parts: Sequence[Result], leaderboard: str | None) -> Result:
    """The result of ``task`` from those of its parts: mean and deviation over them, seconds and clips summed.

    As after folds, grid, hyperparameters and validation score are the first one's; ``parts`` holds each one's own.
    ``leaderboard`` is the leaderboard's name of the task, if it has one.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    folds = tuple(
        dataclasses.replace(fold, test_split=f"{part.task}/{fold.test_split}") for part in parts for fold in part.folds
    )
    scores = fold_scores([fold.scores for fold in folds])
    score = scores[first.primary_metric]
    size = f"mode {first.task_mode or 'unknown'}, published: {PUBLISHED_MODE}"
    differing = [difference for part in parts for difference in part.differences]
    differing += [size] if any(part.task_mode != PUBLISHED_MODE for part in parts) else []
    differing = list(dict.fromkeys(differing))
    own = ("score", "validation_score", "validation_loss", "hyperparameters", "embedding_key")
    return dataclasses.replace(
        first,
        task=task,
        score=score,
        scores=scores,
        folds=folds,
        seconds={stage: round(sum(part.seconds[stage] for part in parts), 3) for stage in first.seconds},
        clips=sum(part.clips for part in parts),
        embedding_key=joined(part.embedding_key for part in parts),
        embedding_content=joined(part.embedding_content for part in parts),
        task_digest=joined(part.task_digest for part in parts),
        identity=joined(part.identity for part in parts),
        undefined=undefined_scores(folds),
        doubts=tuple(f"{part.task}: {doubt}" for part in parts for doubt in part.doubts),
        finished=parts[-1].finished,
        leaderboard=ranked(leaderboard, score, differing),
        differences=tuple(differing),
        parts={part.task: {name: getattr(part, name) for name in own} for part in parts},
    )
