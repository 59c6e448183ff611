"""HEAR's shallow network: its layers and initial weights."""

import math

import pytest
import torch
from torch import nn

from hear_exp.prediction.network import PredictorNetwork


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
