"""The shallow network of HEAR's evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

INITIALIZATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
}


class PredictorNetwork(nn.Module):
    """``hidden_layers`` x [Linear, BatchNorm1d, Dropout, ReLU], then Linear: (rows, dim) -> logits (rows, labels).

    Weights are Xavier-initialised with the gain of what comes before the layer: 'linear' for the first, 'relu'
    after a hidden layer; biases keep PyTorch's default. Without hidden layers it is a linear classifier.

    Source: HEAR (Turian et al. 2022), appendix on downstream evaluation; heareval 2021.1.3.
    """

    def __init__(
        self,
        dim: int,
        labels: int,
        *,
        hidden_layers: int = 0,
        hidden_dim: int = 1024,
        dropout: float = 0.1,
        initialization: str = "xavier_uniform",
    ):
        super().__init__()
        initialize = INITIALIZATIONS[initialization]
        layers: list[nn.Module] = []
        before: Literal["linear", "relu"] = "linear"
        for _ in range(hidden_layers):
            linear = nn.Linear(dim, hidden_dim)
            initialize(linear.weight, gain=nn.init.calculate_gain(before))
            layers += [linear, nn.BatchNorm1d(hidden_dim), nn.Dropout(dropout), nn.ReLU()]
            dim, before = hidden_dim, "relu"
        output = nn.Linear(dim, labels)
        initialize(output.weight, gain=nn.init.calculate_gain(before))
        self.layers = nn.Sequential(*layers, output)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits (rows, labels) of embeddings (rows, dim)."""
        logits: torch.Tensor = self.layers(embeddings)
        return logits
