"""What a run leaves beside result.json: its test predictions, its learning curves, its predictor's weights."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import replacing, write_json
from ..lenient import only_warn
from ..prediction.predictor import class_name

if TYPE_CHECKING:
    from ..prediction.outcome import TestOutcome
    from ..prediction.problem import Problem
    from ..prediction.search import SearchOutcome


def write_beside(folder: Path, problem: Problem, outcome: SearchOutcome) -> None:
    """Write all of it; what cannot be written is named in a warning, and the rest is still tried."""
    writers: dict[str, Callable[[], None]] = {
        "the test predictions": lambda: write_predictions(folder, problem, outcome),
        "the learning curves": lambda: write_curves(folder, outcome),
        "the predictor's weights": lambda: write_predictor(folder, outcome),
    }
    for what, write in writers.items():
        with only_warn(f"{what} were not written"):
            write()


def write_predictions(folder: Path, problem: Problem, outcome: SearchOutcome) -> None:
    """Write the test predictions of every fold.

    predictions/SPLIT.npz (clips or frames: names, probabilities float32, targets uint8; frames: timestamps_ms),
    predictions/SPLIT.events.json (event tasks: clip -> predicted and reference events, milliseconds).
    """
    predictions = Path(folder) / "predictions"
    predictions.mkdir(exist_ok=True)
    for fit in outcome.folds:
        assert fit.tested is not None
        _write_split(predictions, problem, fit.tested)


def _write_split(predictions: Path, problem: Problem, tested: TestOutcome) -> None:
    import numpy as np

    rows = problem.embeddings.split_range(tested.split)
    clips = problem.embeddings.splits[tested.split]
    arrays: dict[str, Any] = {
        "clips": np.array([clip.name for clip in clips]),
        "clip_rows": np.array([clip.count for clip in clips]),
        "labels": np.array(problem.task.labels),
        "probabilities": tested.probabilities.astype(np.float32),
        "targets": np.asarray(problem.targets()[rows.start : rows.stop]),
    }
    if problem.embeddings.has_timestamps:
        arrays["timestamps_ms"] = problem.embeddings.timestamps_ms()[rows.start : rows.stop]
        reference = problem.reference(tested.split)
        events = {
            clip: {
                "predicted": [dataclasses.asdict(event) for event in found],
                "reference": [dataclasses.asdict(event) for event in reference[clip]],
            }
            for clip, found in tested.events.items()
        }
        write_json(predictions / f"{tested.split}.events.json", events)
    with replacing(predictions / f"{tested.split}.npz", "wb") as file:
        np.savez_compressed(file, **arrays)


def write_curves(folder: Path, outcome: SearchOutcome) -> None:
    """Write curves.csv: every validation of every fit; what is undefined is empty."""
    with replacing(Path(folder) / "curves.csv", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["fold", "grid_point", "epoch", "train_loss", "validation_loss", "validation_score"])
        for fit in (*outcome.grid, *outcome.folds[1:]):
            for v in fit.curve:
                values = ["" if math.isnan(value) else value for value in (v.train_loss, v.loss, v.score)]
                writer.writerow([fit.job.fold_index, fit.job.point, v.epoch, *values])


def write_predictor(folder: Path, outcome: SearchOutcome) -> None:
    """Write predictor.pt: the winner's class, hyperparameters and weights, a set per test split, if it has any."""
    if not any(fit.weights for fit in outcome.folds):
        return
    import torch

    predictor = outcome.folds[0].job.predictor
    content = {
        "predictor": class_name(type(predictor)),
        "hyperparameters": predictor.hyperparameters,
        "weights": {
            fit.job.fold.test: {name: torch.from_numpy(array) for name, array in fit.weights.items()}
            for fit in outcome.folds
        },
    }
    with replacing(Path(folder) / "predictor.pt", "wb") as file:
        torch.save(content, file)
