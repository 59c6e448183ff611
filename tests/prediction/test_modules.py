"""What scene and event prediction share: losses, optimizer, what becomes of outputs, and what is logged."""

import math
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tiny import knn, mlp

from hear_exp.prediction.datamodule import EmbeddingDataModule
from hear_exp.prediction.event_predictor import EventPredictor
from hear_exp.prediction.fit import MODULES, make_module, run_fit
from hear_exp.prediction.modules import probabilities
from hear_exp.prediction.outcome import FitJob
from hear_exp.prediction.scene_predictor import ScenePredictor
from hear_exp.tasks.folder import folds

# Losses and probabilities -----------------------------------------------------------------------------------


def module_of(problem, predictor=None):
    return make_module(problem, FitJob(0, predictor or mlp(), 0, folds(problem.task)[0], False))


def test_loss_multiclass(multiclass):
    """Cross entropy by hand: log(e^1 + e^2 + e^3) - 2 and log(3) - 0, averaged."""
    module = module_of(multiclass)
    targets = torch.tensor([[0, 1, 0], [1, 0, 0]], dtype=torch.uint8)
    loss = module.loss(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), targets)
    expected = (math.log(math.e + math.e**2 + math.e**3) - 2 + math.log(3)) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_loss_multilabel(multilabel):
    """Binary cross entropy by hand: log(1 + e^-2) for the label that is there, log(1 + e^1) for the other."""
    module = module_of(multilabel)
    loss = module.loss(torch.tensor([[2.0, 1.0]]), torch.tensor([[1, 0]], dtype=torch.uint8))
    assert float(loss) == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2, rel=1e-6)


def test_adam_without_weight_decay(multiclass):
    optimizer = module_of(multiclass, mlp(lr=3e-4)).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (3e-4, 0, (0.9, 0.999))


def test_probabilities():
    values = probabilities(torch.tensor([[0.0, math.log(3)]]), "multiclass", "float64")
    assert values.tolist() == [[pytest.approx(0.25, rel=1e-6), pytest.approx(0.75, rel=1e-6)]]
    values = probabilities(torch.tensor([[0.0, math.log(3)]]), "multilabel", "float64")
    assert values.tolist() == [[0.5, pytest.approx(0.75, rel=1e-6)]]


@pytest.mark.parametrize("prediction_type", ["multiclass", "multilabel"])
def test_float32_saturates_where_float64_does_not(prediction_type):
    """The traps of protocol.md: large logits tie at 1, which changes a ranking."""
    logits = torch.tensor([[20.0, 0.0], [30.0, 0.0]])
    ties, ranks = (probabilities(logits, prediction_type, dtype)[:, 0] for dtype in ("float32", "float64"))
    assert (ties.dtype, ranks.dtype) == (np.float32, np.float64)
    assert ties.tolist() == [1.0, 1.0]
    assert ranks[0] < ranks[1] < 1


# Two modules ------------------------------------------------------------------------------------------------


def test_scene_and_event_tasks_have_a_module_each(multiclass, multilabel, events):
    assert {"scene": ScenePredictor, "event": EventPredictor} == MODULES
    assert [type(module_of(p)) for p in (multiclass, multilabel, events)] == [
        ScenePredictor,
        ScenePredictor,
        EventPredictor,
    ]


class Watch(pl.Callback):
    """Any callback of Lightning's, which sees what modules log."""

    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append(dict(trainer.callback_metrics))


def train(problem, predictor, watch: Watch):
    """The module of a fit written out with Lightning's own Trainer."""
    module, fold = module_of(problem, predictor), folds(problem.task)[0]
    data = EmbeddingDataModule(
        problem.embeddings, problem.targets(), fold, batch_size=8, shuffle=True, seed=0, in_memory=True
    )
    trainer = pl.Trainer(
        max_epochs=6,
        check_val_every_n_epoch=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[watch, pl.callbacks.EarlyStopping("validation_score", mode="max", patience=100)],
    )
    trainer.fit(module, datamodule=data)
    return module, data, trainer


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "events"])
def test_losses_and_scores_are_logged_as_they_are(kind, request):
    """To the last bit of float64, so that what a logger shows is what is selected by."""
    watch, problem = Watch(), request.getfixturevalue(kind)
    module, data, trainer = train(problem, mlp(), watch)
    assert len(module.validations) == 3
    for seen, validation in zip(watch.seen, module.validations, strict=True):
        assert seen["validation_score"].dtype == torch.float64
        for name, value in (
            ("train_loss", validation.train_loss),
            ("validation_loss", validation.loss),
            ("validation_score", validation.score),
        ):
            assert float(seen[name]) == value if not math.isnan(value) else name not in seen
    assert any(not math.isnan(validation.score) for validation in module.validations)
    module.postprocessing = module.validations[-1].postprocessing
    trainer.test(module, datamodule=data, verbose=False)
    logged = {name.removeprefix("test_"): float(v) for name, v in trainer.callback_metrics.items() if "test_" in name}
    assert logged == {name: value for name, value in module.tested.scores.items() if not math.isnan(value)}
    assert logged


@pytest.mark.slow
def test_a_score_is_computed_once_a_validation(events, monkeypatch):
    count = []
    judge = EventPredictor.judge
    monkeypatch.setattr(EventPredictor, "judge", lambda self, values: count.append(1) or judge(self, values))
    outcome = run_fit(events, FitJob(0, mlp(), 0, folds(events.task)[0], True))
    assert len(count) == len(outcome.curve)
    count.clear()
    run_fit(events, FitJob(0, knn(), 0, folds(events.task)[0], True))
    assert len(count) == 1


def test_scores_are_not_computed_where_the_loss_selects(multiclass, monkeypatch):
    monkeypatch.setattr(ScenePredictor, "judge", lambda self, values: pytest.fail("scored"))
    by_loss = replace(multiclass, task=replace(multiclass.task, early_stop_on_score=False))
    outcome = run_fit(by_loss, FitJob(0, mlp(max_epochs=3), 0, folds(by_loss.task)[0], False))
    assert math.isnan(outcome.validation_score)
    assert outcome.monitor == "loss"
