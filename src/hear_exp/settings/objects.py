"""From the composed config to the objects of a run that are made with torch: encoder, embeddings, problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..embeddings.cache import Embeddings
from ..embeddings.embed import Embedded, embed_task
from ..embeddings.encoder import Encoder, pick_device
from ..embeddings.heareval import import_embeddings
from ..prediction.datamodule import fits_in_memory
from ..prediction.fit_store import FitStore
from ..prediction.identity import Identity
from ..prediction.problem import Problem
from ..prediction.protocol import Protocol
from ..tasks.folder import Task
from ..tasks.targets import frame_targets, scene_targets
from .config import Imported, Settings


@dataclasses.dataclass(frozen=True)
class Source:
    """Where embeddings come from: the model's ``name``, the ``device`` of the run, and how to have a task's.

    ``options`` tell two models of one name apart; nothing is known of those of embeddings made elsewhere.
    """

    name: str
    device: torch.device
    embed: Callable[[Task], Embedded]
    options: Mapping[str, Any]


def load_source(settings: Settings) -> Source:
    """The embeddings that ``embeddings`` names: computed with the model, or imported; nothing is embedded yet."""
    cache, origin = settings.paths.embeddings, settings.embeddings
    if isinstance(origin, Imported):
        device = pick_device(settings.trainer.accelerator)
        return Source(origin.model, device, lambda task: import_embeddings(task, origin.model, cache), {})
    encoder, seconds, may_compute = load_encoder(settings), origin.batch_seconds, settings.stage != "fit"
    embed = lambda task: embed_task(task, encoder, cache, seconds, may_compute=may_compute)  # noqa: E731
    return Source(encoder.name, encoder.device, embed, settings.model.settings)


def load_encoder(settings: Settings) -> Encoder:
    """The model that ``model`` names, on the device that ``trainer`` names."""
    return Encoder(settings.model, pick_device(settings.trainer.accelerator))


@contextmanager
def make_problem(
    settings: Settings, task: Task, embeddings: Embeddings, protocol: Protocol, device: torch.device, folder: Path
) -> Iterator[Problem]:
    """What the fits share; its targets file in ``folder`` is removed at the end."""
    targets_path = folder / ".targets.npy"
    np.save(targets_path, task_targets(task, embeddings))
    try:
        yield Problem(
            task=task,
            embeddings=embeddings,
            targets_path=targets_path,
            protocol=protocol,
            in_memory=fits_in_memory(embeddings, settings.data.in_memory),
            seed=settings.seed,
            threads=settings.search.threads,
            accelerator=device.type,
            precision=settings.trainer.precision,
        )
    finally:
        targets_path.unlink(missing_ok=True)


def open_fits(settings: Settings, identity: Identity) -> FitStore:
    """Where the finished fits of the search called ``identity`` are kept until the run has its result."""
    store = FitStore(settings.paths.fits, identity)
    if settings.rerun:
        store.discard()
    return store.open()


def task_targets(task: Task, embeddings: Embeddings) -> np.ndarray:
    """Targets of all rows of the cache, uint8 (rows, labels)."""
    targets = np.zeros((embeddings.rows, len(task.labels)), dtype=np.uint8)
    timestamps = embeddings.timestamps_ms() if task.embedding_type == "event" else None
    for split in task.splits:
        clips = {clip.name: clip for clip in split.clips}
        for rows in embeddings.splits[split.name]:
            where = slice(rows.start, rows.start + rows.count)
            if timestamps is None:
                targets[where] = scene_targets([clips[rows.name]], task.labels)
            else:
                targets[where] = frame_targets(clips[rows.name].events, timestamps[where], task.labels)
    return targets
