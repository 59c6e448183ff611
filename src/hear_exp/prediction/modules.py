"""The shallow network and the LightningModules that train it on scene or on event embeddings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

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
        return self.layers(embeddings)


def probabilities(logits: torch.Tensor, prediction_type: str, dtype: str) -> np.ndarray:
    """Softmax (multiclass) or sigmoid (multilabel) of logits (rows, labels), computed in ``dtype``.

    float32 saturates: large logits tie at 1.0, as they did in HEAR 2021.
    """
    logits = logits.to(torch.float64 if dtype == "float64" else torch.float32)
    activated = logits.softmax(dim=1) if prediction_type == "multiclass" else logits.sigmoid()
    return activated.cpu().numpy()


@dataclass(frozen=True)
class Validation:
    """One validation: ``score`` is the primary one (nan where it is undefined); ``epoch`` counts from 0."""

    epoch: int
    train_loss: float
    loss: float
    score: float
    postprocessing: Any = None


class PredictorModule(pl.LightningModule):
    """Trains the network with Adam; validates with ``judge(logits) -> (score, postprocessing or None)``."""

    def __init__(
        self,
        network: nn.Module,
        prediction_type: str,
        lr: float,
        judge: Callable[[torch.Tensor], tuple[float, Any]] | None = None,
    ):
        super().__init__()
        self.network = network
        self._multiclass = prediction_type == "multiclass"
        self._lr = lr
        self._judge = judge
        self.validations: list[Validation] = []
        self._losses: list[torch.Tensor] = []
        self._outputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits (rows, labels)."""
        return self.network(embeddings)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross entropy (multiclass) or binary cross entropy (multilabel); targets uint8 (rows, labels)."""
        if self._multiclass:
            return F.cross_entropy(logits, targets.argmax(dim=1))
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Loss of a batch."""
        embeddings, targets = batch
        loss = self.loss(self(embeddings), targets)
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Collect a batch's logits and targets."""
        embeddings, targets = batch
        self._outputs.append((_at_least_float32(self(embeddings)), targets))

    def on_validation_epoch_end(self) -> None:
        """Score the whole split at once: event scores need whole clips, average precision all rows."""
        logits, targets = (torch.cat(parts) for parts in zip(*self._outputs, strict=True))
        self._outputs.clear()
        score, postprocessing = self._judge(logits) if self._judge else (math.nan, None)
        train_loss = float(torch.stack(self._losses).mean()) if self._losses else math.nan
        self._losses.clear()
        loss = float(self.loss(logits, targets))
        self.validations.append(Validation(self.current_epoch, train_loss, loss, score, postprocessing))

    def predict_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Logits (rows, labels)."""
        return _at_least_float32(self(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam without weight decay."""
        return torch.optim.Adam(self.parameters(), lr=self._lr, fused=self.device.type in ("cpu", "cuda"))


def _at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    """Mixed precision's 16 bits in float32; float64 as it is."""
    return logits if logits.dtype == torch.float64 else logits.float()


@dataclass
class KeepBest(pl.Callback):
    """Keeps the best epoch's weights in memory and stops when validations no longer improve.

    ``monitor`` is score or loss; only a strictly better value counts. ``undefined_score``: zero counts a nan
    score as 0 and goes on; stop ends the fit there (HEAR 2021), and where it is the first validation, keeps
    that epoch's weights. A loss that is not finite always ends the fit.
    """

    monitor: str
    higher_is_better: bool
    patience: int
    undefined_score: str
    best: Validation | None = None
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    stopped_by: str = "max_epochs"
    _waited: int = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the validation that has just ended with the best one."""
        assert isinstance(pl_module, PredictorModule)
        now = pl_module.validations[-1]
        value = self._value(now)
        if self.best is None or value > self._value(self.best):
            self.best, self._waited = now, 0
            self.weights = copy.deepcopy({k: v.cpu() for k, v in pl_module.network.state_dict().items()})
        else:
            self._waited += 1
        if not math.isfinite(now.loss):
            trainer.should_stop, self.stopped_by = True, "loss_not_finite"
        elif self.monitor == "score" and math.isnan(now.score) and self.undefined_score == "stop":
            trainer.should_stop, self.stopped_by = True, "score_undefined"
        elif self._waited >= self.patience:
            trainer.should_stop, self.stopped_by = True, "patience"

    def _value(self, validation: Validation) -> float:
        """The monitored value, oriented so that more is better; undefined is worst, or 0."""
        if self.monitor == "loss":
            return -validation.loss if math.isfinite(validation.loss) else -math.inf
        if math.isnan(validation.score):
            return 0.0 if self.undefined_score == "zero" and self.higher_is_better else -math.inf
        return validation.score if self.higher_is_better else -validation.score
