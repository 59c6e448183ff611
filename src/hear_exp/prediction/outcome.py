"""A fit's job, and what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..scoring.decode import Postprocessing
from ..tasks.folder import Fold
from .predictor import Predictor
from .problem import Events


@dataclass(frozen=True)
class FitJob:
    """A grid point (``point``: its place in the grid) on a fold (``fold_index``: its place in the task)."""

    point: int
    predictor: Predictor
    fold_index: int
    fold: Fold
    test: bool  # also test the best epoch

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The predictor's, by name."""
        return self.predictor.hyperparameters


@dataclass(frozen=True)
class Validation:
    """One validation: ``score`` is the primary one (nan where it is undefined); ``epoch`` counts from 0."""

    epoch: int
    train_loss: float
    loss: float
    score: float
    postprocessing: Postprocessing | None = None


@dataclass(frozen=True)
class TestOutcome:
    """Scores on a test split, and the predictions they were computed from.

    A score that is undefined is nan and has its reason, in words, in ``undefined``; d_prime may be infinite.
    """

    split: str
    scores: Mapping[str, float]
    probabilities: np.ndarray  # (rows of the split, labels)
    events: Events = field(default_factory=dict)  # event tasks: clip -> predicted events
    undefined: Mapping[str, str] = field(default_factory=dict)  # score that is nan -> why


@dataclass(frozen=True)
class FitOutcome:
    """What a fit found.

    ``validation_score`` (the primary one) and ``validation_loss`` are the best epoch's; nan: undefined, or not
    computed (scores where the loss selects; the loss of nearest neighbours, which have none). ``monitor`` is the one
    of them that selects: score or loss.
    """

    job: FitJob
    validation_score: float
    epoch: int
    epochs_run: int
    stopped_by: str
    postprocessing: Postprocessing | None
    curve: tuple[Validation, ...]
    weights: Mapping[str, np.ndarray]
    seconds: float
    tested: TestOutcome | None = None
    validation_loss: float = math.nan
    monitor: str = "score"

    @property
    def monitored(self) -> float:
        """What epochs and grid points are selected by: the validation score or loss."""
        return self.validation_loss if self.monitor == "loss" else self.validation_score
