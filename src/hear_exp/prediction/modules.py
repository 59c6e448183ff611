"""What the LightningModules of scene and of event prediction share: training, one validation at a time, testing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import pytorch_lightning as pl
import torch

from ..errors import UserError
from ..scoring.decode import Postprocessing
from ..tasks.folder import Fold
from .outcome import TestOutcome, Validation
from .predictor import Predictor, TrainedPredictor, class_name
from .problem import Problem

Batch = tuple[torch.Tensor, torch.Tensor]  # embeddings (rows, dim) and targets uint8 (rows, labels)


class PredictorModule(pl.LightningModule, ABC):
    """A predictor on one fold of a problem.

    Validation and test score whole splits at once: event scores need whole clips, average precision all rows. What is
    logged, as float64: train_loss (mean over batches since the validation before), validation_loss,
    validation_score (the primary score), test_NAME for each score; each is left out where it does not exist.

    ``validations`` holds them so far, and ``tested`` what the test found (None where predictions are not finite).
    """

    def __init__(self, problem: Problem, fold: Fold, predictor: Predictor):
        super().__init__()
        self._problem, self._fold, self._predictor = problem, fold, predictor
        self.network = predictor.network(problem.embeddings.dim, len(problem.task.labels))
        self._multiclass = problem.task.prediction_type == "multiclass"
        self.monitor = problem.monitor if isinstance(predictor, TrainedPredictor) else "score"
        self.validations: list[Validation] = []
        self.postprocessing: Postprocessing | None = None  # what the test takes
        self.tested: TestOutcome | None = None
        self.finite = True  # whether the last validation's probabilities were
        self._losses: list[torch.Tensor] = []
        self._outputs: list[Batch] = []

    @abstractmethod
    def judge(self, probabilities: np.ndarray) -> tuple[float, Postprocessing | None]:
        """The primary score of finite ``probabilities`` of the validation split, and what else gave it."""

    @abstractmethod
    def test_scores(self, probabilities: np.ndarray) -> TestOutcome:
        """All scores of finite ``probabilities`` of the test split."""

    def settle(self, best: Validation, outputs: Callable[[], torch.Tensor]) -> Postprocessing | None:
        """The postprocessing that goes with the ``best`` validation, whose ``outputs`` can be computed."""
        return best.postprocessing

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The network's outputs (rows, labels). Raises UserError for outputs of another shape."""
        outputs: torch.Tensor = self.network(embeddings)
        if outputs.shape != (len(embeddings), len(self._problem.task.labels)):
            raise UserError(
                f"the network of {class_name(type(self._predictor))} gives outputs of shape {tuple(outputs.shape)}, "
                f"expected (rows, labels) = {(len(embeddings), len(self._problem.task.labels))}"
            )
        return outputs

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The predictor's loss; targets uint8 (rows, labels)."""
        assert isinstance(self._predictor, TrainedPredictor)
        return self._predictor.loss(logits, targets, self._multiclass)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The predictor's optimizer."""
        assert isinstance(self._predictor, TrainedPredictor)
        return self._predictor.optimizer(self.parameters(), self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a batch."""
        embeddings, targets = batch
        loss = self.loss(self(embeddings), targets)
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect a batch's outputs and targets."""
        self._collect(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect a batch's outputs and targets."""
        self._collect(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The network's outputs (rows, labels)."""
        return _at_least_float32(self(batch[0]))

    def on_validation_epoch_end(self) -> None:
        """Score the validation split, once."""
        outputs, targets = self._collected()
        score, postprocessing = self.score(outputs) if self.monitor == "score" else (math.nan, None)
        train_loss = float(torch.stack(self._losses).mean()) if self._losses else math.nan
        self._losses.clear()
        loss = float(self.loss(outputs, targets)) if isinstance(self._predictor, TrainedPredictor) else math.nan
        self.validations.append(Validation(self.current_epoch, train_loss, loss, score, postprocessing))
        self._log_all({"train_loss": train_loss, "validation_loss": loss, "validation_score": score})

    def on_test_epoch_end(self) -> None:
        """Score the test split."""
        values = self.probabilities(self._collected()[0])
        if not np.isfinite(values).all():
            return
        self.tested = self.test_scores(values)
        self._log_all({f"test_{name}": value for name, value in self.tested.scores.items()})

    def score(self, outputs: torch.Tensor) -> tuple[float, Postprocessing | None]:
        """The primary score of a validation's ``outputs`` (rows, labels), and what else gave it; nan: undefined."""
        values = self.probabilities(outputs)
        self.finite = bool(np.isfinite(values).all())
        return self.judge(values) if self.finite else (math.nan, None)

    def probabilities(self, outputs: torch.Tensor) -> np.ndarray:
        """(rows, labels): a trained network's outputs are logits, any other's probabilities already."""
        if isinstance(self._predictor, TrainedPredictor):
            return probabilities(outputs, self._problem.task.prediction_type, self._problem.protocol.probabilities)
        return outputs.cpu().numpy()

    def _collect(self, batch: Batch) -> None:
        embeddings, targets = batch
        self._outputs.append((_at_least_float32(self(embeddings)), targets))

    def _collected(self) -> Batch:
        outputs, targets = (torch.cat(parts) for parts in zip(*self._outputs, strict=True))
        self._outputs.clear()
        return outputs, targets

    def _log_all(self, values: dict[str, float]) -> None:
        # float64, which a plain float would not stay; MPS has none.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        known = {name: torch.tensor(value, dtype=dtype) for name, value in values.items() if not math.isnan(value)}
        self.log_dict(known, batch_size=1)


def probabilities(logits: torch.Tensor, prediction_type: str, dtype: str) -> np.ndarray:
    """Softmax (multiclass) or sigmoid (multilabel) of logits (rows, labels), computed in ``dtype``.

    float32 saturates: large logits tie at 1.0, as they did in HEAR 2021.
    """
    logits = logits.to(torch.float64 if dtype == "float64" else torch.float32)
    activated = logits.softmax(dim=1) if prediction_type == "multiclass" else logits.sigmoid()
    return activated.cpu().numpy()


def _at_least_float32(outputs: torch.Tensor) -> torch.Tensor:
    """Mixed precision's 16 bits in float32; float64 as it is."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()
