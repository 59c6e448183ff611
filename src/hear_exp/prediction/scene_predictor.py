"""Prediction of whole clips: one label, or any number of tags, a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scoring.scores import scene_scores
from .modules import PredictorModule
from .outcome import TestOutcome


class ScenePredictor(PredictorModule):
    """A row is a clip; its probabilities are scored as they are."""

    def judge(self, probabilities: np.ndarray) -> tuple[float, None]:
        """The primary score of the validation split."""
        metric = self._problem.task.primary_metric
        return self._scores(self._fold.valid, probabilities, [metric], {})[metric], None

    def test_scores(self, probabilities: np.ndarray) -> TestOutcome:
        """All scores of the test split."""
        split, undefined = self._fold.test, dict[str, str]()
        scores = self._scores(split, probabilities, self._problem.task.metrics, undefined)
        return TestOutcome(split, scores, probabilities, undefined=undefined)

    def _scores(
        self, split: str, values: np.ndarray, names: Sequence[str], undefined: dict[str, str]
    ) -> dict[str, float]:
        """Scores of ``values`` on a split; ``undefined`` receives the reason of each that is nan."""
        rows = self._problem.embeddings.split_range(split)
        return scene_scores(
            names,
            values,
            self._problem.targets()[rows.start : rows.stop],
            multilabel_accuracy=self._problem.protocol.multilabel_accuracy,
            labels=self._problem.task.labels,
            on_undefined=undefined.__setitem__,
        )
