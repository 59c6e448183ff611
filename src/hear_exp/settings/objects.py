"""From the composed config to the objects of a run that are made with torch: encoder, embeddings, problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..embeddings.cache import Embeddings
from ..embeddings.embed import Embedded, embed_task
from ..embeddings.encoder import Encoder, pick_device
from ..embeddings.heareval import import_embeddings
from ..embeddings.model_choice import describe_model
from ..prediction.datamodule import fits_in_memory
from ..prediction.fit_store import FitStore
from ..prediction.identity import run_identity
from ..prediction.pool import warm_up
from ..prediction.predictor import Predictor
from ..prediction.problem import Problem
from ..prediction.protocol import Protocol
from ..tasks.folder import Task
from ..tasks.targets import frame_targets, scene_targets

Config = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where embeddings come from: the model's ``name``, the ``device`` of the run, and how to have a task's."""

    name: str
    device: torch.device
    embed: Callable[[Task], Embedded]


def load_source(config: Config) -> Source:
    """The embeddings that ``embeddings`` names: computed with the model, or imported; nothing is embedded yet."""
    cache = Path(config["paths"]["embeddings"])
    if config["embeddings"]["name"] == "heareval":
        model, device = str(config["embeddings"]["model"]), pick_device(config["trainer"]["accelerator"])
        return Source(model, device, lambda task: import_embeddings(task, model, cache))
    encoder = load_encoder(config)
    batch_seconds = config["embeddings"]["batch_seconds"]
    return Source(encoder.name, encoder.device, lambda task: embed_task(task, encoder, cache, batch_seconds))


def load_encoder(config: Config) -> Encoder:
    """The model that ``model`` names, on the device that ``trainer`` names."""
    return Encoder(describe_model(config), pick_device(config["trainer"]["accelerator"]))


@contextmanager
def make_problem(
    config: Config, task: Task, embeddings: Embeddings, protocol: Protocol, device: torch.device, folder: Path
) -> Iterator[Problem]:
    """What the fits share; its targets file in ``folder`` is removed at the end."""
    if config["search"]["workers"] != 1:  # a single one is this process itself
        warm_up()
    targets_path = folder / ".targets.npy"
    np.save(targets_path, task_targets(task, embeddings))
    try:
        yield Problem(
            task=task,
            embeddings=embeddings,
            targets_path=targets_path,
            protocol=protocol,
            in_memory=fits_in_memory(embeddings, config["data"]["in_memory"]),
            seed=config["seed"],
            threads=config["search"]["threads"],
            accelerator=device.type,
            precision=config["trainer"]["precision"],
        )
    finally:
        targets_path.unlink(missing_ok=True)


def open_fits(config: Config, problem: Problem, points: Sequence[Predictor]) -> FitStore:
    """Where the finished fits of a search of ``points`` are kept until the run has its result."""
    return FitStore(Path(config["paths"]["fits"]), run_identity(problem, points)).open()


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
