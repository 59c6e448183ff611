"""Prediction of events in time: frame probabilities are decoded into events, whose onsets are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..scoring.decode import Postprocessing, decode_grid
from ..scoring.scores import event_scores, higher_is_better
from .modules import PredictorModule
from .outcome import TestOutcome, Validation
from .problem import Events
from .protocol import Protocol


class EventPredictor(PredictorModule):
    """A row is a frame. Each validation tries every postprocessing of the protocol; the best one goes to the test."""

    def judge(self, probabilities: np.ndarray) -> tuple[float, Postprocessing]:
        """The primary score of the validation split, and the postprocessing that gave it."""
        task, metric, split = self._problem.task, self._problem.task.primary_metric, self._fold.valid
        tried = postprocessings(self._problem.protocol)
        reference = self._problem.reference(split)
        scored = [
            (event_scores([metric], events, reference, task.labels)[metric], one)
            for events, one in zip(self._decode(split, probabilities, tried), tried, strict=True)
        ]
        sign = -1.0 if self._problem.protocol.postprocessing_choice == "best" and not higher_is_better(metric) else 1.0
        # On a tie the stronger smoothing wins, as it did in HEAR 2021.
        return max(
            scored,
            key=lambda pair: (
                sign * (0.0 if math.isnan(pair[0]) else pair[0]),
                pair[1].median_filter_ms,
                pair[1].min_duration_ms,
            ),
        )

    def settle(self, best: Validation, outputs: Callable[[], torch.Tensor]) -> Postprocessing:
        """The best validation's postprocessing; where the loss chose the epoch, the one that scores best in it."""
        tried = postprocessings(self._problem.protocol)
        if best.postprocessing is not None:
            return best.postprocessing
        return tried[0] if len(tried) == 1 else self.score(outputs())[1] or tried[0]

    def test_scores(self, probabilities: np.ndarray) -> TestOutcome:
        """All scores of the test split, decoded with ``postprocessing``."""
        assert self.postprocessing is not None
        task, split, undefined = self._problem.task, self._fold.test, dict[str, str]()
        events = self._decode(split, probabilities, [self.postprocessing])[0]
        reference = self._problem.reference(split)
        scores = event_scores(task.metrics, events, reference, task.labels, on_undefined=undefined.__setitem__)
        return TestOutcome(split, scores, probabilities, events, undefined)

    def _decode(self, split: str, values: np.ndarray, tried: Sequence[Postprocessing]) -> list[Events]:
        """Events of all clips of a split, for each of the postprocessings."""
        embeddings, protocol = self._problem.embeddings, self._problem.protocol
        first = embeddings.split_range(split).start
        timestamps = embeddings.timestamps_ms()
        found: list[Events] = [{} for _ in tried]
        for clip in embeddings.splits[split]:
            rows = slice(clip.start - first, clip.start - first + clip.count)
            decoded = decode_grid(
                values[rows],
                timestamps[clip.start : clip.start + clip.count],
                self._problem.task.labels,
                tried,
                event_end=protocol.event_end,
                median_widths=protocol.median_widths,
            )
            for events, clip_events in zip(found, decoded, strict=True):
                events[clip.name] = tuple(clip_events)
        return found


def postprocessings(protocol: Protocol) -> list[Postprocessing]:
    """The postprocessings that a protocol tries."""
    return [
        Postprocessing(median_filter_ms=median, min_duration_ms=duration)
        for median in protocol.median_filter_ms
        for duration in protocol.min_duration_ms
    ]
