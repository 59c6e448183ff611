"""Our stages of the evaluation, each fed with heareval's own input, for parity.py: the answers should agree."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from parity_runs import drive_peer, peer_score

from hear_exp.cli.composition import composed_file
from hear_exp.embeddings.heareval import import_embeddings, read_embedded_task
from hear_exp.prediction.datamodule import EmbeddingDataModule
from hear_exp.prediction.fit import make_module
from hear_exp.prediction.grid import expand_grid
from hear_exp.prediction.keep_best import KeepBest
from hear_exp.prediction.mlp import MLP
from hear_exp.prediction.outcome import FitJob
from hear_exp.prediction.predictor import arguments
from hear_exp.prediction.problem import Problem
from hear_exp.prediction.protocol import protocol_from_config
from hear_exp.results.gather import fold_scores
from hear_exp.scoring.decode import Postprocessing, decode_grid
from hear_exp.scoring.event import Event
from hear_exp.scoring.scores import event_scores, higher_is_better, scene_scores
from hear_exp.settings.objects import task_targets
from hear_exp.settings.task_settings import predictor_settings
from hear_exp.tasks.folder import Fold, Task, folds


@dataclass(frozen=True)
class Stage:
    """One stage of the evaluation on the same input: how much was compared, and by how much it differs at most."""

    name: str
    compared: str
    difference: float


def stages(folder: Path, peer: Mapping[str, Any], grid_points: int, cache: Path) -> Iterator[Stage]:
    """Each stage fed with heareval's own input of it; a difference of 0 means equal, inf that shapes differ."""
    task = read_embedded_task(folder)
    arrays = np.load(peer["arrays"])
    embeddings = import_embeddings(task, "parity", cache).embeddings
    labels = {label: i for i, label in enumerate(task.labels)}
    yield Stage("label order", _count(len(labels), "label"), _unequal(labels, peer["labels"]))
    triples = [{"train": list(fold.train), "valid": [fold.valid], "test": [fold.test]} for fold in folds(task)]
    yield Stage("folds", _count(len(triples), "triple"), _unequal(triples, peer["folds"]))
    drawn = [{**fit["conf"], "initialization": fit["conf"]["initialization"].rstrip("_")} for fit in peer["fits"]]
    points = _grid(task, grid_points)
    theirs = [{name: point[name] for name in points[0]} for point in drawn[:grid_points]]
    yield Stage("grid points, in order", _count(len(points), "point"), _unequal(points, theirs))
    targets = task_targets(task, embeddings)
    of_split = {split.name: targets[_slice(embeddings.split_range(split.name))] for split in task.splits}
    difference = max(_largest(of_split[name], arrays[f"{name}.targets"]) for name in of_split)
    yield Stage("targets", _count(len(targets), "row"), difference)
    if task.embedding_type == "event":
        decoded = {name: _decode(task, embeddings, name, peer, arrays) for name in peer["scores"]}
        count = sum(len(events) for clips in peer["events"].values() for events in clips.values())
        yield Stage("event decoding", _count(count, "event"), _unequal(decoded, _events(peer)))
    worst: dict[str, float] = {}
    for split, known in peer["scores"].items():
        for name, value in _scores(task, split, peer, arrays, of_split[split]).items():
            expected = peer_score(known, name)
            same = value == expected or (math.isnan(value) and math.isnan(expected))
            worst[name] = max(worst.get(name, 0.0), 0.0 if same else abs(value - expected))
    for name, difference in worst.items():
        yield Stage(name, _count(len(peer["scores"]), "test split"), difference)
    if len(peer["scores"]) > 1:
        yield Stage("means and deviations over folds", _count(len(task.metrics), "score"), _fold_difference(task, peer))


@dataclass(frozen=True, kw_only=True)
class _SameRounding(MLP):
    """Trains with the Adam that heareval has; the package's is fused, which is faster and rounds differently."""

    def optimizer(self, parameters: Iterator[torch.nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr)


class _SameDropout(pl.Callback):
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(1000 * trainer.current_epoch + batch_idx)


def training(python: str, folder: Path, work: Path, epochs: int = 45) -> list[Stage]:
    """A fit from the same seeds here and there: initial weights, validation losses and the best epoch compared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _training(python, folder, work, epochs)
    finally:
        torch.set_num_threads(threads)


def _training(python: str, folder: Path, work: Path, epochs: int) -> list[Stage]:
    record = work / "training"
    drive_peer(python, folder, record, "training", epochs)
    settings = json.loads((record / "training.json").read_text())
    theirs = np.load(record / "training.npz")
    conf, splits = settings["conf"], settings["splits"]
    task = read_embedded_task(folder)
    embeddings = import_embeddings(task, "parity", work / "cache").embeddings
    protocol = protocol_from_config(composed_file("protocol", "hear2021"))
    np.save(record / "targets.npy", task_targets(task, embeddings))
    problem = Problem(task, embeddings, record / "targets.npy", protocol, in_memory=True, seed=0, threads=1)
    settings_of_fit = {name: conf[name] for name in arguments(_SameRounding)}
    settings_of_fit |= {"initialization": conf["initialization"].rstrip("_"), "max_epochs": epochs}
    fold = Fold(tuple(splits["train"]), *splits["valid"], *splits["test"])
    job = FitJob(0, _SameRounding(**settings_of_fit), 0, fold, test=True)
    torch.manual_seed(42)
    module = make_module(problem, job)
    weights = [theirs[name] for name in sorted(theirs) if name.startswith("weights.")]
    ours = module.network.state_dict()
    started = [_largest(w.numpy(), there) for w, there in zip(ours.values(), weights, strict=True)]
    module.network.load_state_dict(dict(zip(ours, map(torch.from_numpy, weights), strict=True)))
    better = higher_is_better(task.primary_metric)
    keep = KeepBest("score", better, conf["patience"], protocol.validation_without_events)
    every, quiet = conf["check_val_every_n_epoch"], {"logger": False, "enable_checkpointing": False}
    options = {"batch_size": conf["batch_size"], "shuffle": False, "seed": 0, "in_memory": True}
    data = EmbeddingDataModule(embeddings, problem.targets(), fold, **options)
    trainer = pl.Trainer(
        max_epochs=epochs,
        check_val_every_n_epoch=every,
        accelerator="cpu",
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[keep, _SameDropout()],
        **quiet,
    )
    trainer.fit(module, datamodule=data)
    assert keep.best is not None
    module.network.load_state_dict(keep.weights)
    module.postprocessing = keep.best.postprocessing
    trainer.test(module, datamodule=data, verbose=False)
    assert module.tested is not None
    tested = module.tested.probabilities
    losses = np.array([validation.loss for validation in module.validations])
    return [
        Stage("initial weights, from the same seed", _count(sum(w.size for w in weights), "number"), max(started)),
        Stage("validation losses, from there", _count(len(losses), "validation"), _largest(losses, theirs["losses"])),
        Stage("best epoch", f"of {epochs}", abs(keep.best.epoch - settings["epoch"])),
        Stage("its test probabilities", _count(tested.size, "number"), _largest(tested, theirs["test"])),
    ]


def _grid(task: Task, grid_points: int) -> list[dict[str, Any]]:
    protocol = dataclasses.replace(protocol_from_config(composed_file("protocol", "hear2021")), grid_points=grid_points)
    settings = {name: value for name, value in composed_file("predictor", "mlp").items() if name in arguments(MLP)}
    points = expand_grid(MLP, {**settings, **predictor_settings(task, settings)}, protocol)
    return [point.hyperparameters for point in points]


def _slice(rows: range) -> slice:
    return slice(rows.start, rows.stop)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _unequal(ours: Any, theirs: Any) -> float:
    return 0.0 if ours == theirs else math.inf


def _largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours.astype(float) - theirs).max()) if ours.shape == theirs.shape else math.inf


def _events(peer: Mapping[str, Any]) -> dict[str, dict[str, tuple[Event, ...]]]:
    return {
        split: {clip: tuple(Event(e["label"], e["start"], e["end"]) for e in events) for clip, events in clips.items()}
        for split, clips in peer["events"].items()
    }


def _decode(task: Task, embeddings: Any, split: str, peer: Mapping[str, Any], arrays: Any) -> dict[str, Any]:
    chosen = peer["postprocessing"][split]
    postprocessing = Postprocessing(chosen["median_filter_ms"], chosen["min_duration"])
    times, first = embeddings.timestamps_ms(), embeddings.split_range(split).start
    values = arrays[f"{split}.probabilities"]
    found = {}
    for clip in embeddings.splits[split]:
        rows = slice(clip.start, clip.start + clip.count)
        of_clip = values[clip.start - first : clip.start - first + clip.count]
        found[clip.name] = decode_grid(of_clip, times[rows], task.labels, [postprocessing])[0]
    return found


def _scores(task: Task, split: str, peer: Mapping[str, Any], arrays: Any, targets: np.ndarray) -> dict[str, float]:
    if task.embedding_type == "scene":
        values = arrays[f"{split}.probabilities"]
        scored = scene_scores(task.metrics, values, targets, multilabel_accuracy="first_label")
        return {name: value for name, value in scored.items() if name != "d_prime_finite"}  # heareval has none
    reference = {clip.name: clip.events for clip in task.split(split).clips}
    return event_scores(task.metrics, _events(peer)[split], reference, task.labels)


def _fold_difference(task: Task, peer: Mapping[str, Any]) -> float:
    reported = peer["reported"]
    ours = fold_scores([{m: reported[split][f"test_{m}"] for m in task.metrics} for split in peer["scores"]])
    return max(
        abs(float(ours[f"{metric}_{figure}"] or 0) - reported["aggregated_scores"][f"test_{metric}_{figure}"])
        for metric in task.metrics
        for figure in ("mean", "std")
    )
