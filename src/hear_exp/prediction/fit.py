"""One fit: one grid point on one fold, trained, validated and, where asked, tested. Runs in any process."""

from __future__ import annotations

import functools
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from ..errors import UserError
from ..scoring.decode import Postprocessing, decode_grid
from ..scoring.scores import event_scores, higher_is_better, scene_scores
from ..tasks.folder import Task
from .batches import needs_two_rows
from .datamodule import Batches, EmbeddingDataModule
from .embedding_range import not_finite_predictions
from .knn import nearest_neighbour_probabilities
from .modules import KeepBest, PredictorModule, PredictorNetwork, probabilities
from .outcome import FitJob, FitOutcome, TestOutcome
from .problem import Events, Problem


def run_fit(problem: Problem, job: FitJob, report: Callable[[str], None] = lambda note: None) -> FitOutcome:
    """Fit ``job``; the same seed gives the same outcome in every process.

    ``report`` is told where the fit stands, in a few words, after each validation.
    """
    _quiet()
    started = time.perf_counter()
    threads = torch.get_num_threads()
    # A sum over rows depends on how many threads share it, so every fit has the same number of them.
    torch.set_num_threads(problem.threads)
    try:
        outcome = _fit_neighbours(problem, job) if "k" in job.hyperparameters else _fit_network(problem, job, report)
        if job.test:
            outcome = replace(outcome, tested=run_test(problem, outcome))
    finally:
        torch.set_num_threads(threads)
    return replace(outcome, seconds=time.perf_counter() - started)


def run_test(problem: Problem, outcome: FitOutcome) -> TestOutcome:
    """Test a fit's best epoch, with its own postprocessing, on its fold's test split."""
    _quiet()
    threads = torch.get_num_threads()
    torch.set_num_threads(problem.threads)
    try:
        return _test(problem, outcome)
    finally:
        torch.set_num_threads(threads)


def _fit_network(problem: Problem, job: FitJob, report: Callable[[str], None]) -> FitOutcome:
    hyper, task = job.hyperparameters, problem.task
    seed = int(np.random.SeedSequence([problem.seed, job.fold_index, job.point]).generate_state(1)[0])
    torch.manual_seed(seed)
    module = PredictorModule(
        _network(problem, hyper),
        task.prediction_type,
        hyper["lr"],
        functools.partial(_judge, problem, job.fold.valid) if problem.monitor == "score" else None,
    )
    keep = KeepBest(
        monitor=problem.monitor,
        higher_is_better=higher_is_better(task.primary_metric),
        patience=hyper["patience"],
        undefined_score=problem.protocol.validation_without_events,
    )
    trainer = _trainer(
        problem,
        max_epochs=hyper["max_epochs"],
        check_val_every_n_epoch=hyper["check_val_every_n_epoch"],
        callbacks=[keep, _Report(report, hyper["max_epochs"])],
    )
    trainer.fit(module, datamodule=_data(problem, job, seed))
    if keep.best is None:
        raise UserError(
            f"no validation took place: predictor.max_epochs={hyper['max_epochs']} ends before the first one "
            f"(predictor.check_val_every_n_epoch={hyper['check_val_every_n_epoch']})"
        )
    best, postprocessing = keep.best, keep.best.postprocessing
    if _is_event(task) and postprocessing is None:
        postprocessing = _postprocessing_after_fit(problem, job, keep.weights)
    return FitOutcome(
        job=job,
        validation_score=best.score,
        validation_loss=best.loss,
        monitor=problem.monitor,
        epoch=best.epoch,
        epochs_run=trainer.current_epoch,
        stopped_by=keep.stopped_by,
        postprocessing=postprocessing,
        curve=tuple(module.validations),
        weights={name: tensor.numpy() for name, tensor in keep.weights.items()},
        seconds=0.0,
    )


def _postprocessing_after_fit(problem: Problem, job: FitJob, weights: Mapping[str, torch.Tensor]) -> Postprocessing:
    """The postprocessing that scores best on validation, where the loss and not the score chose the epoch."""
    candidates = _postprocessings(problem)
    if len(candidates) == 1:
        return candidates[0]
    logits = _predict(problem, job, weights, _data(problem, job, seed=0).val_dataloader())
    return _judge(problem, job.fold.valid, logits)[1] or candidates[0]


def _predict(problem: Problem, job: FitJob, weights: Mapping[str, torch.Tensor], batches: Batches) -> torch.Tensor:
    network = _network(problem, job.hyperparameters)
    network.load_state_dict(dict(weights))
    module = PredictorModule(network, problem.task.prediction_type, job.hyperparameters["lr"])
    return torch.cat(_trainer(problem).predict(module, dataloaders=batches))  # type: ignore[arg-type]


def _fit_neighbours(problem: Problem, job: FitJob) -> FitOutcome:
    values = _neighbours(problem, job, "valid")
    score, postprocessing = _judge_probabilities(problem, job.fold.valid, values)
    ended = "no training" if np.isfinite(values).all() else "distances_not_finite"
    return FitOutcome(job, score, 0, 0, ended, postprocessing, (), {}, 0.0)


def _neighbours(problem: Problem, job: FitJob, part: str) -> np.ndarray:
    hyper = job.hyperparameters
    data = _data(problem, job, seed=0)
    queries = data.val_dataloader() if part == "valid" else data.test_dataloader()
    return nearest_neighbour_probabilities(
        data.train_dataloader(),
        queries,
        k=hyper["k"],
        metric=hyper["metric"],
        temperature=hyper["temperature"],
        dtype=torch.float64 if problem.precision == "64-true" else torch.float32,
    ).numpy()


def _test(problem: Problem, outcome: FitOutcome) -> TestOutcome:
    task, job = problem.task, outcome.job
    if "k" in job.hyperparameters:
        values = _neighbours(problem, job, "test")
    else:
        weights = {name: torch.from_numpy(array) for name, array in outcome.weights.items()}
        logits = _predict(problem, job, weights, _data(problem, job, seed=0).test_dataloader())
        values = probabilities(logits, task.prediction_type, problem.protocol.probabilities)
    if not np.isfinite(values).all():
        raise not_finite_predictions(problem, outcome)
    split, undefined = job.fold.test, dict[str, str]()
    if not _is_event(task):
        scores = _scene_scores(problem, split, values, task.metrics, undefined)
        return TestOutcome(split, scores, values, undefined=undefined)
    assert outcome.postprocessing is not None
    events = _decode(problem, split, values, [outcome.postprocessing])[0]
    reference = problem.reference(split)
    scores = event_scores(task.metrics, events, reference, task.labels, on_undefined=undefined.__setitem__)
    return TestOutcome(split, scores, values, events, undefined)


def _judge(problem: Problem, split: str, logits: torch.Tensor) -> tuple[float, Postprocessing | None]:
    values = probabilities(logits, problem.task.prediction_type, problem.protocol.probabilities)
    return _judge_probabilities(problem, split, values)


def _judge_probabilities(problem: Problem, split: str, values: np.ndarray) -> tuple[float, Postprocessing | None]:
    """The primary score of ``values`` on a split, and for events the postprocessing that gave it."""
    task, metric = problem.task, problem.task.primary_metric
    if not np.isfinite(values).all():
        return math.nan, None
    if not _is_event(task):
        return _scene_scores(problem, split, values, [metric], {})[metric], None
    candidates = _postprocessings(problem)
    reference = problem.reference(split)
    scored = [
        (event_scores([metric], events, reference, task.labels)[metric], candidate)
        for events, candidate in zip(_decode(problem, split, values, candidates), candidates, strict=True)
    ]
    sign = -1.0 if problem.protocol.postprocessing_choice == "best" and not higher_is_better(metric) else 1.0
    # On a tie the stronger smoothing wins, as it did in HEAR 2021.
    return max(
        scored,
        key=lambda pair: (
            sign * (0.0 if math.isnan(pair[0]) else pair[0]),
            pair[1].median_filter_ms,
            pair[1].min_duration_ms,
        ),
    )


def _scene_scores(
    problem: Problem, split: str, values: np.ndarray, names: Sequence[str], undefined: dict[str, str]
) -> dict[str, float]:
    """Scores of ``values`` on a split; ``undefined`` receives the reason of each that is nan."""
    rows = problem.embeddings.split_range(split)
    return scene_scores(
        names,
        values,
        problem.targets()[rows.start : rows.stop],
        multilabel_accuracy=problem.protocol.multilabel_accuracy,
        labels=problem.task.labels,
        on_undefined=undefined.__setitem__,
    )


def _decode(problem: Problem, split: str, values: np.ndarray, candidates: list[Postprocessing]) -> list[Events]:
    embeddings, labels = problem.embeddings, problem.task.labels
    first = embeddings.split_range(split).start
    timestamps = embeddings.timestamps_ms()
    found: list[Events] = [{} for _ in candidates]
    for clip in embeddings.splits[split]:
        rows = slice(clip.start - first, clip.start - first + clip.count)
        decoded = decode_grid(
            values[rows],
            timestamps[clip.start : clip.start + clip.count],
            labels,
            candidates,
            event_end=problem.protocol.event_end,
            median_widths=problem.protocol.median_widths,
        )
        for events, clip_events in zip(found, decoded, strict=True):
            events[clip.name] = tuple(clip_events)
    return found


def _postprocessings(problem: Problem) -> list[Postprocessing]:
    protocol = problem.protocol
    return [
        Postprocessing(median_filter_ms=median, min_duration_ms=duration)
        for median in protocol.median_filter_ms
        for duration in protocol.min_duration_ms
    ]


def _is_event(task: Task) -> bool:
    return task.embedding_type == "event"


def _network(problem: Problem, hyper: Mapping[str, Any]) -> PredictorNetwork:
    names = ("hidden_layers", "hidden_dim", "dropout", "initialization")
    given = {name: hyper[name] for name in names if name in hyper}
    network = PredictorNetwork(problem.embeddings.dim, len(problem.task.labels), **given)
    return network.double() if problem.precision == "64-true" else network


def _data(problem: Problem, job: FitJob, seed: int) -> EmbeddingDataModule:
    return EmbeddingDataModule(
        problem.embeddings,
        problem.targets(),
        job.fold,
        batch_size=job.hyperparameters["batch_size"],
        shuffle=problem.protocol.shuffle and "k" not in job.hyperparameters,
        seed=seed,
        in_memory=problem.in_memory,
        needs_two_rows=needs_two_rows(job.hyperparameters),
        last_batch_of_one=problem.protocol.last_batch_of_one,
    )


def _trainer(problem: Problem, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator=problem.accelerator,
        devices=1,
        precision=problem.precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # Each fit is a process of its own, also inside a Slurm job, whose variables Lightning would obey.
        plugins=[LightningEnvironment()],
        **options,
    )


def _quiet() -> None:
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")


class _Report(pl.Callback):
    """Tells the search where a fit stands."""

    def __init__(self, report: Callable[[str], None], max_epochs: int):
        self._report, self._max_epochs = report, max_epochs

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        last = pl_module.validations[-1]
        value = f"loss {last.loss:.3f}" if math.isnan(last.score) else f"score {last.score:.3f}"
        self._report(f"epoch {last.epoch + 1}/{self._max_epochs}, validation {value}")
