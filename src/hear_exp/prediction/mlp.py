"""HEAR's shallow network, and the linear classifier that is trained in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .hyperparameters import WHOLE, Number, OneOf
from .predictor import TrainedPredictor

if TYPE_CHECKING:
    from torch import nn

INITIALIZATIONS = OneOf(("xavier_uniform", "xavier_normal"))


@dataclass(frozen=True, kw_only=True)
class Linear(TrainedPredictor):
    """A linear classifier. ``initialization``: xavier_uniform or xavier_normal."""

    initialization: str = "xavier_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        INITIALIZATIONS.check(self, "initialization")

    def network(self, dim: int, labels: int) -> nn.Module:
        """Logits (rows, labels) of embeddings (rows, dim)."""
        from .network import PredictorNetwork

        return PredictorNetwork(dim, labels, initialization=self.initialization)


@dataclass(frozen=True, kw_only=True)
class MLP(TrainedPredictor):
    """``hidden_layers`` layers of ``hidden_dim`` units, with BatchNorm, ``dropout`` and ReLU, before the linear one."""

    hidden_layers: int
    hidden_dim: int = 1024
    dropout: float = 0.1
    initialization: str = "xavier_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        Number(0, 10, "a whole number from 0 to 10", whole=True).check(self, "hidden_layers")
        WHOLE.check(self, "hidden_dim")
        Number(0, 0.999, "a number from 0 to below 1").check(self, "dropout")
        INITIALIZATIONS.check(self, "initialization")

    @property
    def needs_two_rows(self) -> bool:  # type: ignore[override]  # of a class it is a constant, here it depends
        """Whether there is a BatchNorm, which cannot train on a batch of one row."""
        return self.hidden_layers > 0

    def network(self, dim: int, labels: int) -> nn.Module:
        """Logits (rows, labels) of embeddings (rows, dim)."""
        from .network import PredictorNetwork

        return PredictorNetwork(
            dim,
            labels,
            hidden_layers=self.hidden_layers,
            hidden_dim=self.hidden_dim,
            dropout=self.dropout,
            initialization=self.initialization,
        )
