"""Small made-up problems and outcomes, for the tests of what is recorded and drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hear_exp.cli.composition import composed_file
from hear_exp.embeddings.cache import ClipRows, Embeddings
from hear_exp.prediction.knn import NearestNeighbours
from hear_exp.prediction.mlp import MLP
from hear_exp.prediction.outcome import FitJob, FitOutcome, TestOutcome, Validation
from hear_exp.prediction.problem import Problem
from hear_exp.prediction.protocol import protocol_from_config
from hear_exp.prediction.search import SearchOutcome
from hear_exp.results.gather import make_result
from hear_exp.results.result import Result
from hear_exp.scoring.decode import Postprocessing
from hear_exp.scoring.event import Event
from hear_exp.scoring.scores import event_scores, scene_scores
from hear_exp.tasks.folder import Clip, Split, Task, folds

FOLDS = ("fold00", "fold01", "fold02")
PROTOCOL = protocol_from_config(composed_file("protocol", "hear2021"))
REST = {"batch_size": 1024, "check_val_every_n_epoch": 3, "patience": 20}
GRID = [
    MLP(hidden_layers=layers, lr=lr, initialization=init, max_epochs=500, **REST)
    for layers in (1, 2)
    for lr in (3.2e-3, 1e-3)
    for init in ("xavier_uniform", "xavier_normal")
]
NEIGHBOURS = [NearestNeighbours(k=k, metric="cosine", temperature=0.07, batch_size=1024) for k in (1, 5, 10)]


def scene_problem(
    folder: Path,
    labels: Sequence[str],
    *,
    clips: int = 200,
    prediction_type: str = "multiclass",
    metrics: Sequence[str] = ("top1_acc",),
    kfold: bool = False,
    without: Sequence[str] = (),
    early_stop_on_score: bool = True,
) -> Problem:
    """A scene task with random labels, none of them one of ``without``."""
    rng = np.random.default_rng(0)
    names = FOLDS if kfold else ("train", "valid", "test")
    possible = [i for i, label in enumerate(labels) if label not in without]
    targets = np.zeros((clips * 3, len(labels)), dtype=np.uint8)
    if prediction_type == "multiclass":
        targets[np.arange(len(targets)), rng.choice(possible, len(targets))] = 1
    else:
        rates = rng.uniform(0.02, 0.4, len(possible))
        targets[:, possible] = rng.random((len(targets), len(possible))) < rates
        targets[:3, possible] = 1
        targets[clips : clips + 3, possible] = targets[2 * clips : 2 * clips + 3, possible] = 1
    splits = {
        name: tuple(ClipRows(f"{name}_{i}.wav", n * clips + i, 1) for i in range(clips)) for n, name in enumerate(names)
    }
    task = Task(
        name="demo_scene",
        version="1.0",
        folder=folder,
        embedding_type="scene",
        prediction_type=prediction_type,
        split_mode="new_split_kfold" if kfold else "trainvaltest",
        splits=tuple(Split(name, tuple(Clip(c.name) for c in splits[name])) for name in names),
        labels=tuple(labels),
        sample_duration_s=1.0,
        metrics=tuple(metrics),
        sample_rates=(16000,),
        early_stop_on_score=early_stop_on_score,
    )
    return _problem(folder, task, targets, splits, timestamps=False)


def event_problem(folder: Path, references: Sequence[Sequence[Event]], labels: Sequence[str]) -> Problem:
    """An event task whose three splits have the same clips, one row each."""
    names = ("train", "valid", "test")
    clips = tuple(Clip(f"clip_{i}.wav", events=tuple(events)) for i, events in enumerate(references))
    splits = {
        name: tuple(ClipRows(clip.name, n * len(clips) + i, 1) for i, clip in enumerate(clips))
        for n, name in enumerate(names)
    }
    task = Task(
        name="demo_events",
        version="1.0",
        folder=folder,
        embedding_type="event",
        prediction_type="multilabel",
        split_mode="trainvaltest",
        splits=tuple(Split(name, clips) for name in names),
        labels=tuple(labels),
        sample_duration_s=10.0,
        metrics=("event_onset_200ms_fms", "segment_1s_er"),
        sample_rates=(16000,),
    )
    targets = np.zeros((3 * len(clips), len(labels)), dtype=np.uint8)
    return _problem(folder, task, targets, splits, timestamps=True)


def scene_outcome(problem: Problem, *, skill: float = 2.0, curves: bool = True) -> SearchOutcome:
    """Predictions that lean towards the targets, the more the greater ``skill``."""
    targets, rng = problem.targets(), np.random.default_rng(1)

    def test(split: str) -> TestOutcome:
        rows = problem.embeddings.split_range(split)
        truth = targets[rows.start : rows.stop]
        logits = rng.normal(size=truth.shape) + skill * truth - 1
        values = 1 / (1 + np.exp(-logits))
        return TestOutcome(split, scene_scores(problem.task.metrics, values, truth), values)

    return _outcome(problem, test, curves)


def event_outcome(problem: Problem, predicted: Sequence[Sequence[Event]]) -> SearchOutcome:
    """The events of each clip, on every test split."""

    def test(split: str) -> TestOutcome:
        clips = problem.embeddings.splits[split]
        events = {clip.name: tuple(found) for clip, found in zip(clips, predicted, strict=True)}
        task = problem.task
        scores = event_scores(task.metrics, events, problem.reference(split), task.labels)
        return TestOutcome(split, scores, np.zeros((len(clips), len(task.labels))), events)

    return _outcome(problem, test, curves=True)


def result_of(problem: Problem, outcome: SearchOutcome, **changes: Any) -> Result:
    """The result as a run would write it."""
    options: dict[str, Any] = {
        "model": "logmel",
        "predictor": "mlp",
        "protocol_changes": {},
        "embed_seconds": 1.23456,
    }
    return make_result(problem, outcome, **{**options, **changes})


def _problem(folder: Path, task: Task, targets: np.ndarray, splits: Any, timestamps: bool) -> Problem:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "targets.npy", targets)
    np.arange(len(targets), dtype="<f8").tofile(folder / "timestamps.f64")
    embeddings = Embeddings(folder, "0123456789ab", 64, len(targets), splits, timestamps)
    return Problem(task, embeddings, folder / "targets.npy", PROTOCOL, True, seed=42, threads=1)


def _outcome(problem: Problem, test: Any, curves: bool) -> SearchOutcome:
    triples = folds(problem.task)
    loss = problem.monitor == "loss"
    points = GRID if curves else NEIGHBOURS

    def fit(point: int, fold: int, tested: bool) -> FitOutcome:
        speed = 1 + point % 3 + 0.2 * fold
        curve = tuple(
            Validation(
                epoch,
                train_loss=2 * math.exp(-0.02 * speed * epoch),
                loss=1.8 * math.exp(-0.02 * speed * epoch) + 0.004 * epoch,
                score=math.nan if loss else 0.9 * (1 - math.exp(-0.03 * speed * epoch)) - 0.001 * epoch,
            )
            for epoch in range(2, 120, 3)
        )
        best = min(curve, key=lambda v: v.loss) if loss else max(curve, key=lambda v: v.score)
        return FitOutcome(
            job=FitJob(point, points[point], fold, triples[fold], test=tested),
            validation_score=best.score,
            validation_loss=best.loss if curves else math.nan,
            monitor="loss" if loss else "score",
            epoch=best.epoch if curves else 0,
            epochs_run=120 if curves else 0,
            stopped_by="patience" if curves else "no training",
            postprocessing=Postprocessing(median_filter_ms=250, min_duration_ms=125)
            if problem.task.embedding_type == "event"
            else None,
            curve=curve if curves else (),
            weights={"layers.0.weight": np.zeros((2, 2), dtype=np.float32)} if curves else {},
            seconds=1.5,
            tested=test(triples[fold].test) if tested else None,
        )

    grid = tuple(fit(point, 0, tested=False) for point in range(len(points)))
    scores = [-g.monitored if loss else g.monitored for g in grid]
    winner = scores.index(max(scores))
    fits = tuple(fit(winner, fold, tested=True) for fold in range(len(triples)))
    return SearchOutcome(grid, winner, fits, search_seconds=12.3, test_seconds=0.4)


__all__ = ["Event", "event_outcome", "event_problem", "result_of", "scene_outcome", "scene_problem"]
