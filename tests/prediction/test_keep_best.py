"""Early stopping: which epoch is kept, and when a fit ends."""

import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from torch import nn

from hear_exp.prediction.keep_best import KeepBest
from hear_exp.prediction.outcome import Validation
from hear_exp.prediction.scene_predictor import ScenePredictor


class Bare(ScenePredictor):
    """A module of which nothing but its network and its validations is looked at."""

    def __init__(self, network: nn.Module):
        pl.LightningModule.__init__(self)
        self.network, self.validations = network, []


def keep(scores, losses=None, **options):
    """KeepBest after these validations, or those until it stopped; and how many there were."""
    callback = KeepBest(
        **{"monitor": "score", "higher_is_better": True, "patience": 100, "undefined_score": "zero"} | options
    )
    network = nn.Linear(1, 1)
    module = Bare(network)
    trainer = SimpleNamespace(should_stop=False)
    for epoch, score in enumerate(scores):
        nn.init.constant_(network.weight, epoch)
        module.validations.append(Validation(epoch, 0.0, losses[epoch] if losses else 1.0, score))
        callback.on_validation_end(trainer, module)
        if trainer.should_stop:
            break
    assert float(callback.weights["weight"]) == callback.best.epoch  # the weights of that epoch, and a copy
    return callback, len(module.validations)


def test_best_is_strictly_better():
    callback, _ = keep([0.1, 0.5, 0.5, 0.4, 0.5])
    assert (callback.best.epoch, callback.best.score, callback.stopped_by) == (1, 0.5, "max_epochs")


def test_best_where_lower_is_better():
    assert keep([0.5, 0.2, 0.2, 0.3], higher_is_better=False)[0].best.epoch == 1


def test_best_by_loss():
    callback, _ = keep([0.9, 0.1, 0.1, 0.1], losses=[3.0, 1.0, 1.0, 2.0], monitor="loss")
    assert callback.best.epoch == 1


def test_patience_counts_validations_without_improvement():
    scores = [0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3, 0.3, 0.9]
    callback, validations = keep(scores, patience=3)
    assert (callback.best.epoch, callback.stopped_by, validations) == (4, "patience", 8)
    callback, validations = keep(scores, patience=4)
    assert (callback.best.epoch, callback.stopped_by, validations) == (8, "max_epochs", 9)


NAN = math.nan


def test_undefined_score_stops():
    callback, validations = keep([0.2, 0.4, NAN, 0.9], undefined_score="stop")
    assert (callback.best.epoch, callback.stopped_by, validations) == (1, "score_undefined", 3)
    callback, validations = keep([NAN, 0.9], undefined_score="stop")
    assert (callback.best.epoch, callback.stopped_by, validations) == (0, "score_undefined", 1)


def test_undefined_score_counts_as_zero():
    callback, validations = keep([NAN, NAN, 0.0, 0.3, NAN])
    assert (callback.best.epoch, callback.stopped_by, validations) == (3, "max_epochs", 5)
    assert keep([NAN, 0.0])[0].best.epoch == 0  # 0 is not strictly better than 0
    callback, validations = keep([0.3, NAN, NAN, 0.9], patience=2)
    assert (callback.best.epoch, callback.stopped_by, validations) == (0, "patience", 3)


def test_undefined_score_is_the_worst_where_lower_is_better():
    assert keep([NAN, 5.0, NAN], higher_is_better=False)[0].best.epoch == 1


def test_undefined_score_does_not_matter_to_the_loss():
    callback, validations = keep([NAN] * 3, losses=[3.0, 2.0, 1.0], monitor="loss", undefined_score="stop")
    assert (callback.best.epoch, validations) == (2, 3)


@pytest.mark.parametrize("monitor", ["score", "loss"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loss_that_is_not_finite_ends_the_fit(monitor, bad):
    """The weights are NaN from here on; there is nothing to wait for."""
    callback, validations = keep([0.1, 0.2, NAN, 0.9], losses=[2.0, 1.0, bad, 0.1], monitor=monitor)
    assert (callback.best.epoch, callback.stopped_by, validations) == (1, "loss_not_finite", 3)
