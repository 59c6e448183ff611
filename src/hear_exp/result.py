"""What a run found: Result <-> result.json, and the files beside it."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .fit import FitOutcome, Problem
    from .search import SearchOutcome

PACKAGES = ("hear_exp", "torch", "pytorch-lightning", "torchmetrics", "sed_eval", "numpy", "soundfile", "soxr")


@dataclass(frozen=True)
class FoldResult:
    """One fold's test: ``epoch`` counts from 0; ``postprocessing`` is None for scene tasks."""

    test_split: str
    scores: Mapping[str, float | None]  # None where a score is undefined
    validation_score: float | None
    epoch: int
    epochs_run: int
    stopped_by: str
    postprocessing: Mapping[str, float] | None
    seconds: float


@dataclass(frozen=True)
class GridResult:
    """One grid point's fit on the first fold."""

    hyperparameters: Mapping[str, Any]
    validation_score: float | None
    epoch: int
    epochs_run: int
    stopped_by: str
    seconds: float


@dataclass(frozen=True)
class Result:
    """A finished run. ``score`` is the primary score on test (its mean over folds).

    ``scores`` maps a name to its value and, where there are folds, NAME_mean and NAME_std (ddof 1) as well.
    ``validation_score`` is the winner's monitored value on the first fold. ``leaderboard`` is where the score stands
    among the published ones (the fields of leaderboard.Rank); None for a task that is not on the leaderboard.
    ``parts``: for a task that consists of several, each one's score, winner and embeddings.
    """

    model: str
    task: str
    task_version: str
    protocol: str
    protocol_changes: Mapping[str, Any]
    primary_metric: str
    higher_is_better: bool
    score: float | None
    scores: Mapping[str, float | None]
    validation_score: float | None
    folds: tuple[FoldResult, ...]
    predictor: str
    hyperparameters: Mapping[str, Any]
    grid: tuple[GridResult, ...]
    seed: int
    seconds: Mapping[str, float]
    clips: int
    embedding_key: str
    embedding_dim: int
    monitor: str = "score"  # what validation_score is: score (the primary one) or loss
    finished: str = ""  # local time, ISO 8601
    versions: Mapping[str, str] = field(default_factory=dict)
    leaderboard: Mapping[str, Any] | None = None
    parts: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the primary score over folds; None without folds."""
        return self.scores.get(f"{self.primary_metric}_std")


def make_result(
    problem: Problem,
    outcome: SearchOutcome,
    *,
    model: str,
    predictor: str,
    protocol_changes: Mapping[str, Any],
    embed_seconds: float,
) -> Result:
    """Gather a search's outcome into the record that result.json holds."""
    from .leaderboard import leaderboard_task, rank
    from .scores import higher_is_better

    task = problem.task
    folds = tuple(_fold(fit) for fit in outcome.folds)
    scores = fold_scores([fold.scores for fold in folds])
    score = scores[task.primary_metric]
    published = leaderboard_task(task)
    winner = outcome.grid[outcome.winner]
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
        validation_score=_defined(winner.validation_score),
        folds=folds,
        predictor=predictor,
        hyperparameters=dict(winner.job.hyperparameters),
        grid=tuple(_grid_point(fit) for fit in outcome.grid),
        seed=problem.seed,
        seconds={
            "embed": round(embed_seconds, 3),
            "search": round(outcome.search_seconds, 3),
            "test": round(outcome.test_seconds, 3),
        },
        clips=sum(len(split.clips) for split in task.splits),
        embedding_key=problem.embeddings.key,
        embedding_dim=problem.embeddings.dim,
        monitor=problem.monitor,
        finished=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        versions=_versions(),
        leaderboard=dataclasses.asdict(rank(published, score)) if published and score is not None else None,
    )


def fold_scores(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Test scores over folds: each name's mean, NAME_mean and NAME_std (ddof 1); one fold: as they are.

    A score that is undefined on a fold is undefined over all of them.
    """
    if len(scores) == 1:
        return dict(scores[0])
    combined: dict[str, float | None] = {}
    for name in scores[0]:
        values = [fold[name] for fold in scores]
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)
        combined[name] = combined[f"{name}_mean"] = statistics.fmean(known) if complete else None
        combined[f"{name}_std"] = statistics.stdev(known) if complete else None
    return combined


def write_result(folder: Path, result: Result) -> Path:
    """Write RESULT/result.json, atomically: it is there whole or not at all."""
    path = Path(folder) / "result.json"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(dataclasses.asdict(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_result(path: Path) -> Result:
    """Read a result.json (or the run folder that holds one)."""
    path = Path(path)
    if path.is_dir():
        path = path / "result.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["folds"] = tuple(FoldResult(**fold) for fold in content["folds"])
        content["grid"] = tuple(GridResult(**point) for point in content["grid"])
        return Result(**content)
    except FileNotFoundError:
        raise UserError(f"file not found: {path} (a run without result.json did not finish)") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a result of hear_exp: {error}") from error
    except KeyError as error:
        raise UserError(f"{path}: not a result of hear_exp: it lacks {error}") from error


def write_neighbours(folder: Path, problem: Problem, outcome: SearchOutcome) -> None:
    """Write what stands beside result.json.

    predictions/SPLIT.npz (clips or frames: names, probabilities float32, targets uint8; frames: timestamps_ms),
    predictions/SPLIT.events.json (event tasks: clip -> predicted and reference events, milliseconds),
    predictor.pt (per test split: the best predictor's weights), curves.csv (every validation of every fit).
    """
    import numpy as np
    import torch

    predictions = Path(folder) / "predictions"
    predictions.mkdir(exist_ok=True)
    targets = problem.targets()
    for fit in outcome.folds:
        assert fit.tested is not None
        rows = problem.embeddings.split_range(fit.tested.split)
        clips = problem.embeddings.splits[fit.tested.split]
        arrays: dict[str, Any] = {
            "clips": np.array([clip.name for clip in clips]),
            "clip_rows": np.array([clip.count for clip in clips]),
            "labels": np.array(problem.task.labels),
            "probabilities": fit.tested.probabilities.astype(np.float32),
            "targets": np.asarray(targets[rows.start : rows.stop]),
        }
        if problem.embeddings.has_timestamps:
            arrays["timestamps_ms"] = problem.embeddings.timestamps_ms()[rows.start : rows.stop]
            events = {
                clip: {
                    "predicted": [dataclasses.asdict(e) for e in found],
                    "reference": [dataclasses.asdict(e) for e in problem.reference(fit.tested.split)[clip]],
                }
                for clip, found in fit.tested.events.items()
            }
            (predictions / f"{fit.tested.split}.events.json").write_text(json.dumps(events, indent=1))
        np.savez_compressed(predictions / f"{fit.tested.split}.npz", **arrays)
    if any(fit.weights for fit in outcome.folds):
        state = {
            fit.job.fold.test: {name: torch.from_numpy(w) for name, w in fit.weights.items()} for fit in outcome.folds
        }
        torch.save(
            {"hyperparameters": dict(outcome.folds[0].job.hyperparameters), "weights": state}, folder / "predictor.pt"
        )
    with (Path(folder) / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["fold", "grid_point", "epoch", "train_loss", "validation_loss", "validation_score"])
        for fit in (*outcome.grid, *outcome.folds[1:]):
            for v in fit.curve:
                writer.writerow([fit.job.fold_index, fit.job.point, v.epoch, v.train_loss, v.loss, v.score])


def _fold(fit: FitOutcome) -> FoldResult:
    assert fit.tested is not None
    post = fit.postprocessing
    return FoldResult(
        test_split=fit.tested.split,
        scores={name: _defined(value) for name, value in fit.tested.scores.items()},
        validation_score=_defined(fit.validation_score),
        epoch=fit.epoch,
        epochs_run=fit.epochs_run,
        stopped_by=fit.stopped_by,
        postprocessing=dataclasses.asdict(post) if post is not None else None,
        seconds=round(fit.seconds, 3),
    )


def _grid_point(fit: FitOutcome) -> GridResult:
    return GridResult(
        hyperparameters=dict(fit.job.hyperparameters),
        validation_score=_defined(fit.validation_score),
        epoch=fit.epoch,
        epochs_run=fit.epochs_run,
        stopped_by=fit.stopped_by,
        seconds=round(fit.seconds, 3),
    )


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
