"""What all fits of a search share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..embeddings.cache import Embeddings
from ..scoring.event import Event
from ..tasks.folder import Task
from .protocol import Protocol

Events = dict[str, tuple[Event, ...]]


@dataclass(frozen=True)
class Problem:
    """What all fits of a search share; cheap to send to a worker, which maps the arrays from their files."""

    task: Task
    embeddings: Embeddings
    targets_path: Path  # uint8 .npy (rows, labels)
    protocol: Protocol
    in_memory: bool
    seed: int
    threads: int
    accelerator: str = "cpu"
    precision: str = "32-true"

    def targets(self) -> np.ndarray:
        """Targets of all rows, uint8 (rows, labels), mapped copy-on-write."""
        targets: np.ndarray = np.load(self.targets_path, mmap_mode="c")
        return targets

    def reference(self, split: str) -> Events:
        """Clip name -> annotated events of a split, in the cache's order of clips."""
        events = {clip.name: clip.events for clip in self.task.split(split).clips}
        return {clip.name: events[clip.name] for clip in self.embeddings.splits[split]}

    @property
    def monitor(self) -> str:
        """What selects epochs and grid points: score or loss."""
        return "loss" if self.task.early_stop_on_score is False else "score"
