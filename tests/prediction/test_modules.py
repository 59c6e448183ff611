"""The predictor's network and loss, what becomes of logits, and which epoch is kept."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hear_exp.prediction.modules import KeepBest, PredictorModule, PredictorNetwork, Validation, probabilities

# The network ------------------------------------------------------------------------------------------------


def test_layers():
    network = PredictorNetwork(5, 3, hidden_layers=2, hidden_dim=7, dropout=0.25)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.Dropout, nn.ReLU] * 2 + [nn.Linear]
    assert [type(layer) for layer in network.layers] == kinds
    sizes = [(layer.in_features, layer.out_features) for layer in network.layers if isinstance(layer, nn.Linear)]
    assert sizes == [(5, 7), (7, 7), (7, 3)]
    assert network.layers[2].p == 0.25
    assert network(torch.zeros(4, 5)).shape == (4, 3)


def test_no_hidden_layer_is_a_linear_classifier():
    network = PredictorNetwork(5, 3)
    x = torch.randn(4, 5)
    (layer,) = network.layers
    assert torch.allclose(network(x), x @ layer.weight.T + layer.bias, atol=1e-6)


@pytest.mark.parametrize("initialization", ["xavier_uniform", "xavier_normal"])
def test_initial_weights(initialization):
    """Xavier's standard deviation is gain * sqrt(2 / (in + out)); the gain is 1, then sqrt(2) after a ReLU."""
    torch.manual_seed(0)
    network = PredictorNetwork(600, 400, hidden_layers=2, hidden_dim=500, initialization=initialization)
    first, second, last = (layer for layer in network.layers if isinstance(layer, nn.Linear))
    for layer, gain in ((first, 1.0), (second, math.sqrt(2)), (last, math.sqrt(2))):
        outputs, inputs = layer.weight.shape
        expected = gain * math.sqrt(2 / (inputs + outputs))
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.01)
        # A uniform distribution ends at sqrt(3) standard deviations, a normal one goes on to about 4.5 here.
        reach = layer.weight.abs().max().item() / expected
        assert reach <= math.sqrt(3) * 1.001 if initialization == "xavier_uniform" else reach > 3.5
        assert 0.5 / math.sqrt(inputs) < layer.bias.abs().max().item() <= 1 / math.sqrt(inputs)  # PyTorch's default
    alone = PredictorNetwork(600, 400, initialization=initialization).layers[0]
    assert alone.weight.std().item() == pytest.approx(math.sqrt(2 / 1000), rel=0.01)


# Losses and probabilities -----------------------------------------------------------------------------------


def test_loss_multiclass():
    """Cross entropy by hand: log(e^1 + e^2 + e^3) - 2 and log(3) - 0, averaged."""
    module = PredictorModule(nn.Identity(), "multiclass", 1e-3)
    targets = torch.tensor([[0, 1, 0], [1, 0, 0]], dtype=torch.uint8)
    loss = module.loss(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), targets)
    expected = (math.log(math.e + math.e**2 + math.e**3) - 2 + math.log(3)) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_loss_multilabel():
    """Binary cross entropy by hand: log(1 + e^-2) for the label that is there, log(1 + e^1) for the other."""
    module = PredictorModule(nn.Identity(), "multilabel", 1e-3)
    loss = module.loss(torch.tensor([[2.0, 1.0]]), torch.tensor([[1, 0]], dtype=torch.uint8))
    assert float(loss) == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2, rel=1e-6)


def test_adam_without_weight_decay():
    optimizer = PredictorModule(nn.Linear(2, 2), "multiclass", 3e-4).configure_optimizers()
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


# The best epoch ---------------------------------------------------------------------------------------------


def keep(scores, losses=None, **options):
    """KeepBest after these validations, or those until it stopped; and how many there were."""
    callback = KeepBest(
        **{"monitor": "score", "higher_is_better": True, "patience": 100, "undefined_score": "zero"} | options
    )
    network = nn.Linear(1, 1)
    module = PredictorModule(network, "multiclass", 1e-3)
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
