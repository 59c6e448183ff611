"""One fit: one grid point on one fold, trained, validated and, where asked, tested. Runs in any process."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from ..errors import UserError
from ..scoring.scores import higher_is_better
from .datamodule import EmbeddingDataModule
from .embedding_range import not_finite_predictions
from .event_predictor import EventPredictor
from .keep_best import KeepBest
from .modules import PredictorModule
from .neighbours import RememberingNetwork
from .outcome import FitJob, FitOutcome, TestOutcome
from .predictor import TrainedPredictor
from .problem import Problem
from .scene_predictor import ScenePredictor

MODULES: Mapping[str, type[PredictorModule]] = {"scene": ScenePredictor, "event": EventPredictor}


def run_fit(problem: Problem, job: FitJob, report: Callable[[str], None] = lambda note: None) -> FitOutcome:
    """Fit ``job``; the same seed gives the same outcome in every process.

    ``report`` is told where the fit stands, in a few words, after each validation.

    Raises UserError where no validation takes place, and for predictions on the test split that are not finite.
    """
    started = time.perf_counter()
    with _alone(problem.threads):
        outcome = (
            _train(problem, job, report) if isinstance(job.predictor, TrainedPredictor) else _validate(problem, job)
        )
        if job.test:
            outcome = replace(outcome, tested=_test(problem, outcome))
    return replace(outcome, seconds=time.perf_counter() - started)


def run_test(problem: Problem, outcome: FitOutcome) -> TestOutcome:
    """Test a fit's best epoch, with its own postprocessing, on its fold's test split.

    Raises UserError for predictions that are not finite.
    """
    with _alone(problem.threads):
        return _test(problem, outcome)


def make_module(problem: Problem, job: FitJob) -> PredictorModule:
    """The LightningModule of a fit, its network new."""
    module = MODULES[problem.task.embedding_type](problem, job.fold, job.predictor)
    return module.double() if problem.precision == "64-true" else module


def _train(problem: Problem, job: FitJob, report: Callable[[str], None]) -> FitOutcome:
    predictor, task = job.predictor, problem.task
    assert isinstance(predictor, TrainedPredictor)
    seed = int(np.random.SeedSequence([problem.seed, job.fold_index, job.point]).generate_state(1)[0])
    torch.manual_seed(seed)
    module = make_module(problem, job)
    keep = KeepBest(
        monitor=module.monitor,
        higher_is_better=higher_is_better(task.primary_metric),
        patience=predictor.patience,
        undefined_score=problem.protocol.validation_without_events,
    )
    trainer = _trainer(
        problem,
        job,
        max_epochs=predictor.max_epochs,
        check_val_every_n_epoch=predictor.check_val_every_n_epoch,
        callbacks=[keep, _Report(report, predictor.max_epochs)],
    )
    trainer.fit(module, datamodule=_data(problem, job, seed))
    best = keep.best
    if best is None:
        raise UserError(
            f"no validation took place: predictor.max_epochs={predictor.max_epochs} ends before the first one "
            f"(predictor.check_val_every_n_epoch={predictor.check_val_every_n_epoch})"
        )

    def outputs() -> torch.Tensor:
        fitted, data = _fitted(problem, job, keep.weights)
        batches = data.val_dataloader()
        return torch.cat(_trainer(problem, job).predict(fitted, dataloaders=batches))  # type: ignore[arg-type]  # tensors

    return FitOutcome(
        job=job,
        validation_score=best.score,
        validation_loss=best.loss,
        monitor=module.monitor,
        epoch=best.epoch,
        epochs_run=trainer.current_epoch,
        stopped_by=keep.stopped_by,
        postprocessing=module.settle(best, outputs),
        curve=tuple(module.validations),
        weights={name: tensor.numpy() for name, tensor in keep.weights.items()},
        seconds=0.0,
    )


def _validate(problem: Problem, job: FitJob) -> FitOutcome:
    """The outcome of a predictor that is not trained."""
    module, data = _fitted(problem, job, {})
    _trainer(problem, job).validate(module, datamodule=data, verbose=False)
    (found,) = module.validations
    ended = "no training" if module.finite else "distances_not_finite"
    return FitOutcome(job, found.score, 0, 0, ended, found.postprocessing, (), {}, 0.0)


def _test(problem: Problem, outcome: FitOutcome) -> TestOutcome:
    weights = {name: torch.from_numpy(array) for name, array in outcome.weights.items()}
    module, data = _fitted(problem, outcome.job, weights)
    module.postprocessing = outcome.postprocessing
    _trainer(problem, outcome.job).test(module, datamodule=data, verbose=False)
    if module.tested is None:
        raise not_finite_predictions(problem, outcome)
    return module.tested


def _fitted(
    problem: Problem, job: FitJob, weights: Mapping[str, torch.Tensor]
) -> tuple[PredictorModule, EmbeddingDataModule]:
    """A fit's module as training left it, with ``weights`` or the training rows, and its data."""
    module, data = make_module(problem, job), _data(problem, job, seed=0)
    if isinstance(module.network, RememberingNetwork):
        module.network.remember(data.train_dataloader())
    else:
        module.network.load_state_dict(dict(weights))
    return module, data


def _data(problem: Problem, job: FitJob, seed: int) -> EmbeddingDataModule:
    trains = isinstance(job.predictor, TrainedPredictor)
    return EmbeddingDataModule(
        problem.embeddings,
        problem.targets(),
        job.fold,
        batch_size=job.predictor.batch_size,
        shuffle=problem.protocol.shuffle and trains,
        seed=seed,
        in_memory=problem.in_memory,
        needs_two_rows=job.predictor.needs_two_rows,
        last_batch_of_one=problem.protocol.last_batch_of_one,
        context_frames=job.predictor.context_frames,
    )


def _trainer(problem: Problem, job: FitJob, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        # Without training there is nothing that moving the embeddings to a GPU would pay for.
        accelerator=problem.accelerator if isinstance(job.predictor, TrainedPredictor) else "cpu",
        devices=1,
        precision=problem.precision,  # type: ignore[arg-type]  # a Literal there; settings/config.py checks it
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # Each fit is a process of its own, also inside a Slurm job, whose variables Lightning would obey.
        plugins=[LightningEnvironment()],
        **options,
    )


@contextmanager
def _alone(threads: int) -> Iterator[None]:
    """Lightning quiet, and ``threads`` threads: a sum over rows depends on how many share it."""
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Report(pl.Callback):
    """Tells the search where a fit stands."""

    def __init__(self, report: Callable[[str], None], max_epochs: int):
        self._report, self._max_epochs = report, max_epochs

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, PredictorModule)
        last = pl_module.validations[-1]
        value = f"loss {last.loss:.3f}" if math.isnan(last.score) else f"score {last.score:.3f}"
        self._report(f"epoch {last.epoch + 1}/{self._max_epochs}, validation {value}")
