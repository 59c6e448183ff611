"""What a search found, gathered into the record that result.json holds."""

from __future__ import annotations

import dataclasses
import datetime
import math
import platform
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..prediction.predictor import class_name
from ..scoring.scores import higher_is_better
from ..versions import installed_version
from .averages import deviation, mean
from .leaderboard import differences, leaderboard_task, published_version, rank
from .records import defined
from .result import FoldResult, GridResult, Result

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome
    from ..prediction.problem import Problem
    from ..prediction.search import SearchOutcome

PACKAGES = ("hear_exp", "torch", "pytorch-lightning", "torchmetrics", "sed_eval", "numpy", "soundfile", "soxr")


def make_result(
    problem: Problem,
    outcome: SearchOutcome,
    *,
    model: str,
    predictor: str,
    protocol_changes: Mapping[str, Any],
    embed_seconds: float,
    doubts: Sequence[str] = (),
    identity: str = "",
    model_options: Mapping[str, Any] = MappingProxyType({}),
    published_points: Sequence[Mapping[str, Any]] = (),
) -> Result:
    """Gather a search's outcome into the record that result.json holds.

    ``doubts`` are those of the embeddings; ``published_points`` the grid points that the published scores of the task
    come from.
    """
    task = problem.task
    folds = tuple(_fold(fit) for fit in outcome.folds)
    scores = fold_scores([fold.scores for fold in folds])
    score = scores[task.primary_metric]
    published = leaderboard_task(task)
    winner = outcome.grid[outcome.winner]
    differing = _differing(problem, outcome, predictor, protocol_changes, published_points)
    return Result(
        model=model,
        task=task.name,
        task_version=task.version,
        protocol=problem.protocol.name,
        protocol_changes=dict(protocol_changes),
        primary_metric=task.primary_metric,
        higher_is_better=higher_is_better(task.primary_metric),
        score=score,
        scores=scores,
        validation_score=defined(winner.validation_score),
        validation_loss=defined(winner.validation_loss),
        folds=folds,
        predictor=predictor,
        hyperparameters=dict(winner.job.hyperparameters),
        grid=tuple(_grid_point(fit) for fit in outcome.grid),
        seed=problem.seed,
        seconds=_seconds(embed=embed_seconds, search=outcome.search_seconds, test=outcome.test_seconds),
        clips=sum(len(split.clips) for split in task.splits),
        embedding_key=problem.embeddings.key,
        embedding_dim=problem.embeddings.dim,
        embedding_content=problem.embeddings.content,
        monitor=winner.monitor,
        finished=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        versions=_versions(),
        leaderboard=ranked(published, score, differing),
        task_mode=task.mode,
        task_digest=task.digest,
        identity=identity,
        computation={"precision": problem.precision, "threads": problem.threads, "accelerator": problem.accelerator},
        model_options=dict(model_options),
        differences=differing,
        undefined=undefined_scores(folds),
        doubts=tuple(dict.fromkeys((*doubts, *outcome.doubts))),
    )


def _differing(
    problem: Problem,
    outcome: SearchOutcome,
    predictor: str,
    protocol_changes: Mapping[str, Any],
    published_points: Sequence[Mapping[str, Any]],
) -> tuple[str, ...]:
    return differences(
        protocol=problem.protocol.name,
        protocol_changes=protocol_changes,
        predictor=predictor,
        predictor_class=class_name(type(outcome.grid[0].job.predictor)),
        points=[fit.job.hyperparameters for fit in outcome.grid],
        published_points=published_points,
        precision=problem.precision,
        version=problem.task.version,
        published_version=published_version(problem.task),
    )


def _seconds(**stages: float) -> dict[str, float]:
    return {stage: round(seconds, 3) for stage, seconds in stages.items()}


def ranked(published: str | None, score: float | None, differing: Sequence[str]) -> dict[str, Any] | None:
    """Where a score stands among those of the task that the leaderboard calls ``published``, as result.json has it."""
    return dataclasses.asdict(rank(published, score, differing)) if published and score is not None else None


def fold_scores(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Test scores over folds: each name's mean, NAME_mean and NAME_std (ddof 1); one fold: as they are.

    A score that is undefined on a fold is undefined over all of them. One that is infinite on a fold has an infinite
    mean, unless others are infinite the other way, and no deviation.
    """
    if len(scores) == 1:
        return dict(scores[0])
    combined: dict[str, float | None] = {}
    for name in scores[0]:
        values = [fold[name] for fold in scores]
        combined[name] = combined[f"{name}_mean"] = mean(values)
        combined[f"{name}_std"] = deviation(values)
    return combined


def undefined_scores(folds: Sequence[FoldResult]) -> dict[str, str]:
    """Why scores over ``folds`` are undefined: name -> reason, for each None of ``fold_scores``."""
    if len(folds) == 1:
        return dict(folds[0].undefined)
    reasons = {}
    for name, value in fold_scores([fold.scores for fold in folds]).items():
        score = name.removesuffix("_mean").removesuffix("_std")
        if value is not None or score not in folds[0].scores:
            continue
        lacking = [fold for fold in folds if fold.scores[score] is None]
        infinite = [fold.test_split for fold in folds if math.isinf(fold.scores[score] or 0.0)]
        if lacking:
            whys: dict[str, list[str]] = {}
            for fold in lacking:
                whys.setdefault(fold.undefined.get(score, "undefined"), []).append(fold.test_split)
            reasons[name] = "; ".join(f"on {', '.join(splits)}: {why}" for why, splits in whys.items())
        else:
            reasons[name] = f"infinite on {', '.join(infinite)}"
    return reasons


def _fold(fit: FitOutcome) -> FoldResult:
    assert fit.tested is not None
    post = fit.postprocessing
    return FoldResult(
        test_split=fit.tested.split,
        scores={name: defined(value) for name, value in fit.tested.scores.items()},
        postprocessing=dataclasses.asdict(post) if post is not None else None,
        undefined=dict(fit.tested.undefined),
        **_course(fit),
    )


def _grid_point(fit: FitOutcome) -> GridResult:
    return GridResult(hyperparameters=dict(fit.job.hyperparameters), **_course(fit))


def _course(fit: FitOutcome) -> dict[str, Any]:
    """How a fit went: what FoldResult and GridResult have in common."""
    return {
        "validation_score": defined(fit.validation_score),
        "validation_loss": defined(fit.validation_loss),
        "epoch": fit.epoch,
        "epochs_run": fit.epochs_run,
        "stopped_by": fit.stopped_by,
        "seconds": round(fit.seconds, 3),
    }


def _versions() -> dict[str, str]:
    found = {package: version for package in PACKAGES if (version := installed_version(package))}
    return {"python": platform.python_version(), **found}
