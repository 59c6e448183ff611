"""Early stopping: which epoch of a fit is kept, and when it ends."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import pytorch_lightning as pl
import torch

from .modules import PredictorModule
from .outcome import Validation


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
