"""Predictors as somebody outside the package writes them: the docs show these, and tests run them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from hear_exp.prediction.hyperparameters import POSITIVE
from hear_exp.prediction.predictor import TrainedPredictor


@dataclass(frozen=True, kw_only=True)
class Cosine(TrainedPredictor):
    """A cosine classifier: logits are similarities to one direction a label, times ``scale``."""

    scale: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        POSITIVE.check(self, "scale")

    def network(self, dim: int, labels: int) -> nn.Module:
        return CosineNetwork(dim, labels, self.scale)


class CosineNetwork(nn.Module):
    def __init__(self, dim: int, labels: int, scale: float):
        super().__init__()
        self.scale = scale
        self.directions = nn.Parameter(torch.randn(labels, dim))

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(rows, dim) -> (rows, labels)."""
        return self.scale * F.normalize(embeddings, dim=1) @ F.normalize(self.directions, dim=1).T


@dataclass(frozen=True, kw_only=True)
class AttentionPooling(TrainedPredictor):
    """Pools a frame and its neighbours by learned attention before a linear classifier."""

    context_frames: ClassVar[int] = 2

    def network(self, dim: int, labels: int) -> nn.Module:
        return AttentionNetwork(dim, labels)


class AttentionNetwork(nn.Module):
    def __init__(self, dim: int, labels: int):
        super().__init__()
        self.attention = nn.Linear(dim, 1)
        self.output = nn.Linear(dim, labels)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(rows, frames, dim) -> (rows, labels)."""
        weights = self.attention(embeddings).softmax(dim=1)
        return self.output((weights * embeddings).sum(dim=1))
