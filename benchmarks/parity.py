"""Sets our predictor stage beside heareval's, on the same embeddings: stage by stage, then score by score.

    python benchmarks/parity.py PEER_PYTHON FOLDER... [--seeds 0 1 2 3 4] [--grid-points 2] [--work DIR]

PEER_PYTHON is the Python of an environment where heareval is installed; a FOLDER is what heareval's embedding stage
wrote, or `python -m hear_exp.export_heareval`. Prints Markdown. Runs are kept in DIR, and those that it has already are
not repeated. Seconds of commands include start and imports, which take longer than a small search.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from hear_exp.cli.configs import shipped
from hear_exp.embeddings.heareval import import_embeddings, read_embedded_task
from hear_exp.prediction.datamodule import EmbeddingDataModule
from hear_exp.prediction.fit import _judge
from hear_exp.prediction.grid import apply_task_grid, expand_grid
from hear_exp.prediction.modules import KeepBest, PredictorModule, PredictorNetwork, probabilities
from hear_exp.prediction.problem import Problem
from hear_exp.prediction.protocol import protocol_from_config
from hear_exp.results.gather import fold_scores
from hear_exp.scoring.decode import Postprocessing, decode_grid
from hear_exp.scoring.event import Event
from hear_exp.scoring.scores import event_scores, higher_is_better, scene_scores
from hear_exp.settings.objects import task_targets
from hear_exp.tasks.folder import Fold, Task, folds

DRIVER = Path(__file__).with_name("peer_driver.py")


@dataclass(frozen=True)
class Stage:
    """One stage of the evaluation on the same input: how much was compared, and by how much it differs at most."""

    name: str
    compared: str
    difference: float


@dataclass(frozen=True)
class Row:
    """A score over seeds, here and there; se: standard error of the mean."""

    name: str
    ours: float
    ours_se: float
    theirs: float
    theirs_se: float

    @property
    def errors(self) -> float:
        """The difference in standard errors of the difference; 0 for equal scores."""
        difference, se = abs(self.ours - self.theirs), math.hypot(self.ours_se, self.theirs_se)
        return difference / se if se else (0.0 if difference == 0 else math.inf)


def row(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """Means and standard errors of a score over seeds."""

    def error(values: Sequence[float]) -> float:
        return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan

    return Row(name, statistics.fmean(ours), error(ours), statistics.fmean(theirs), error(theirs))


# Running both -----------------------------------------------------------------------------------------------


def run_peer(python: str, folder: Path, work: Path, grid_points: int, seed: int) -> dict[str, Any]:
    """heareval's record of a run, made unless ``work`` has it."""
    record = work / f"peer-{seed}"
    _drive(python, folder, record, grid_points, seed)
    content = json.loads((record / "peer.json").read_text())
    content |= {"stage_seconds": content["seconds"], "arrays": record / "peer.npz"}
    return {**content, "seconds": json.loads((record / "seconds.json").read_text())}


def _drive(python: str, folder: Path, record: Path, *arguments: Any) -> None:
    if not (record / "seconds.json").exists():
        shutil.rmtree(record, ignore_errors=True)
        copy = record / "copy"  # heareval writes beside the embeddings
        copy.mkdir(parents=True)
        for file in folder.iterdir():
            if file.is_file():
                (copy / file.name).symlink_to(file.resolve())
        _timed([python, "-W", "ignore", DRIVER, copy, record, *arguments], record, cwd=copy)
        shutil.rmtree(copy)


def run_ours(folder: Path, work: Path, grid_points: int, seed: int) -> dict[str, Any]:
    """Our result.json of a run, made unless ``work`` has it."""
    record = work / f"ours-{seed}"
    if not (record / "seconds.json").exists():
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir(parents=True)
        command = [sys.executable, "-m", "hear_exp", "embeddings=heareval", f"embeddings.path={folder}", f"seed={seed}"]
        command += [f"protocol.grid_points={grid_points}", "trainer=cpu", "logger=none", f"paths.root={work}"]
        _timed([*command, f"hydra.run.dir={record / 'run'}"], record, cwd=work)
    result = json.loads((record / "run" / "result.json").read_text())
    result["stage_seconds"] = result["seconds"]["search"] + result["seconds"]["test"]
    return {**result, "seconds": json.loads((record / "seconds.json").read_text())}


def _timed(command: Sequence[Any], record: Path, cwd: Path) -> None:
    started = time.perf_counter()
    with (record / "log.txt").open("w") as log:
        subprocess.run([str(part) for part in command], check=True, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
    (record / "seconds.json").write_text(json.dumps(time.perf_counter() - started))


# Stage by stage ---------------------------------------------------------------------------------------------


def stages(folder: Path, peer: Mapping[str, Any], grid_points: int, cache: Path) -> Iterator[Stage]:
    """Each stage fed with heareval's own input of it; a difference of 0 means equal, inf that shapes differ."""
    task = read_embedded_task(folder)
    arrays = np.load(peer["arrays"])
    embeddings = import_embeddings(task, "parity", cache).embeddings
    labels = {label: i for i, label in enumerate(task.labels)}
    yield Stage("label order", f"{len(labels)} labels", _unequal(labels, peer["labels"]))
    triples = [{"train": list(fold.train), "valid": [fold.valid], "test": [fold.test]} for fold in folds(task)]
    yield Stage("folds", f"{len(triples)} triples", _unequal(triples, peer["folds"]))
    drawn = [{**fit["conf"], "initialization": fit["conf"]["initialization"].rstrip("_")} for fit in peer["fits"]]
    points = _grid(task, grid_points)
    theirs = [{name: point[name] for name in points[0]} for point in drawn[:grid_points]]
    yield Stage("grid points, in order", f"{len(points)} points", _unequal(points, theirs))
    targets = task_targets(task, embeddings)
    of_split = {split.name: targets[_slice(embeddings.split_range(split.name))] for split in task.splits}
    difference = max(_largest(of_split[name], arrays[f"{name}.targets"]) for name in of_split)
    yield Stage("targets", f"{len(targets)} rows", difference)
    if task.embedding_type == "event":
        decoded = {name: _decode(task, embeddings, name, peer, arrays) for name in peer["scores"]}
        count = sum(len(events) for clips in peer["events"].values() for events in clips.values())
        yield Stage("event decoding", f"{count} events", _unequal(decoded, _events(peer)))
    worst: dict[str, float] = {}
    for split, known in peer["scores"].items():
        for name, value in _scores(task, split, peer, arrays, of_split[split]).items():
            expected = _peer_score(known, name)
            same = value == expected or (math.isnan(value) and math.isnan(expected))
            worst[name] = max(worst.get(name, 0.0), 0.0 if same else abs(value - expected))
    for name, difference in worst.items():
        yield Stage(name, f"{len(peer['scores'])} test splits", difference)
    if len(peer["scores"]) > 1:
        yield Stage("means and deviations over folds", f"{len(task.metrics)} scores", _fold_difference(task, peer))


class _SameRounding(PredictorModule):
    """Trains with the Adam that heareval has; the package's is fused, which is faster and rounds differently."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self._lr)


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
    _drive(python, folder, record, "training", epochs)
    settings = json.loads((record / "training.json").read_text())
    theirs = np.load(record / "training.npz")
    conf, splits = settings["conf"], settings["splits"]
    task = read_embedded_task(folder)
    embeddings = import_embeddings(task, "parity", work / "cache").embeddings
    shape = {name: conf[name] for name in ("hidden_layers", "hidden_dim", "dropout")}
    torch.manual_seed(42)
    initialization = conf["initialization"].rstrip("_")
    network = PredictorNetwork(embeddings.dim, len(task.labels), initialization=initialization, **shape)
    weights = [theirs[name] for name in sorted(theirs) if name.startswith("weights.")]
    started = [_largest(w.numpy(), there) for w, there in zip(network.state_dict().values(), weights, strict=True)]
    tensors = map(torch.from_numpy, weights)
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    protocol = protocol_from_config(shipped("protocol", "hear2021"))
    np.save(record / "targets.npy", task_targets(task, embeddings))
    problem = Problem(task, embeddings, record / "targets.npy", protocol, in_memory=True, seed=0, threads=1)
    judge = functools.partial(_judge, problem, *splits["valid"])
    module = _SameRounding(network, task.prediction_type, conf["lr"], judge)
    better = higher_is_better(task.primary_metric)
    keep = KeepBest("score", better, conf["patience"], protocol.validation_without_events)
    fold = Fold(tuple(splits["train"]), *splits["valid"], *splits["test"])
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
    network.load_state_dict(keep.weights)
    logits = torch.cat(trainer.predict(module, data.test_dataloader()))
    tested = probabilities(logits, task.prediction_type, protocol.probabilities)
    losses = np.array([validation.loss for validation in module.validations])
    assert keep.best is not None
    return [
        Stage("initial weights, from the same seed", f"{sum(w.size for w in weights)} numbers", max(started)),
        Stage("validation losses, from there", f"{len(losses)} validations", _largest(losses, theirs["losses"])),
        Stage("best epoch", f"of {epochs}", abs(keep.best.epoch - settings["epoch"])),
        Stage("its test probabilities", f"{tested.size} numbers", _largest(tested, theirs["test"])),
    ]


def _grid(task: Task, grid_points: int) -> list[dict[str, Any]]:
    protocol = dataclasses.replace(protocol_from_config(shipped("protocol", "hear2021")), grid_points=grid_points)
    settings = {name: value for name, value in shipped("predictor", "mlp").items() if name != "name"}
    return expand_grid(apply_task_grid(settings, task.predictor_grid, []), protocol)


def _slice(rows: range) -> slice:
    return slice(rows.start, rows.stop)


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


def _peer_score(scores: Mapping[str, Any], name: str) -> float:
    """Our name of a score in heareval's scores, where an F-measure is a list of (part, value)."""
    if name in scores:
        value = scores[name]
        return float(value[0][1] if isinstance(value, list) else value)
    whole, _, part = name.rpartition("_")
    return float(dict(scores[whole])[part])


def _fold_difference(task: Task, peer: Mapping[str, Any]) -> float:
    reported = peer["reported"]
    ours = fold_scores([{m: reported[split][f"test_{m}"] for m in task.metrics} for split in peer["scores"]])
    return max(
        abs(float(ours[f"{metric}_{figure}"] or 0) - reported["aggregated_scores"][f"test_{metric}_{figure}"])
        for metric in task.metrics
        for figure in ("mean", "std")
    )


# The table --------------------------------------------------------------------------------------------------


def compare(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of the test scores (means over folds) over seeds."""
    names = [name for name in ours[0]["scores"] if not name.endswith(("_mean", "_std"))]
    return [
        row(
            name,
            [run["scores"][name] for run in ours],
            [statistics.fmean(_peer_score(scores, name) for scores in run["scores"].values()) for run in theirs],
        )
        for name in names
    ]


def show(folder: Path, ours: Sequence[Any], theirs: Sequence[Any], found: Sequence[Stage]) -> None:
    """Print both tables of a folder."""
    print(f"\n### {folder.parent.name} on {folder.name}, {len(ours)} seeds\n")
    print("| stage, on heareval's own input | compared | largest difference |\n|---|---|---|")
    for stage in found:
        print(f"| {stage.name} | {stage.compared} | {stage.difference:.2g} |")
    print("\n| test score | ours (mean ± se) | heareval | difference | in standard errors | within two |")
    print("|---|---|---|---|---|---|")
    for r in compare(ours, theirs):
        cells = [f"{r.ours:.4f} ± {r.ours_se:.4f}", f"{r.theirs:.4f} ± {r.theirs_se:.4f}", f"{r.ours - r.theirs:+.4f}"]
        print(f"| {r.name} | {' | '.join(cells)} | {r.errors:.2f} | {'yes' if r.errors <= 2 else 'NO'} |")
    for name, key in (("seconds, search and test", "stage_seconds"), ("seconds, whole command", "seconds")):
        here, there = (statistics.fmean(run[key] for run in runs) for runs in (ours, theirs))
        print(f"| {name} | {here:.1f} | {there:.1f} | {there / here:.1f} times as fast | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer_python")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--grid-points", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("parity"))
    options = parser.parse_args()
    versions = {}
    for folder in (path.resolve() for path in options.folders):
        work = (options.work / f"{folder.parent.name}--{folder.name}").resolve()
        work.mkdir(parents=True, exist_ok=True)
        ours = [run_ours(folder, work, options.grid_points, seed) for seed in options.seeds]
        theirs = [run_peer(options.peer_python, folder, work, options.grid_points, seed) for seed in options.seeds]
        found = [*stages(folder, theirs[-1], options.grid_points, work / "cache")]
        found += training(options.peer_python, folder, work)
        show(folder, ours, theirs, found)
        versions = {"ours": ours[0]["versions"], "heareval": theirs[0]["versions"]}
    for side, packages in versions.items():
        print(f"\nVersions, {side}: " + ", ".join(f"{name} {version}" for name, version in packages.items()))


if __name__ == "__main__":
    main()
