"""``python -m hear_exp.export_heareval model=MODEL task=TASK out=OUT``: our embeddings in heareval's format.

OUT/MODEL/TASK is what heareval's embedding stage would have left there, so that its predictor stage runs on it:

    python -m heareval.predictions.runner OUT/MODEL/TASK
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from .interrupts import answer_signals

    answer_signals()

import json
import logging
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from .cli.choices import Choices
from .cli.edge import start
from .cli.run_record import begin
from .embeddings.cache import Embeddings
from .errors import UserError
from .files import naming, read_json, temporary_name
from .settings.config import ExportSettings
from .settings.fields import read
from .settings.plans import check, load_task
from .tasks.folder import Task
from .tasks.targets import frame_targets

log = logging.getLogger(__name__)


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Embed the task unless the cache has it, and write the cache's rows, in their order, for heareval.

    ``folder`` holds the log. Raises UserError for a user's mistake, such as a folder that is there already.
    """
    settings = read(ExportSettings, config)
    check(settings, choices)
    task = load_task(settings, choices)
    begin(folder)
    from .settings.objects import load_source  # takes seconds, and mistakes need none of it

    source = load_source(settings)
    target = settings.out / source.name / task.folder.name
    if target.exists():
        raise UserError(f"{target} is there already; remove it, or choose another folder with out=FOLDER")
    write_heareval(task, source.embed(task).embeddings, target)
    log.info("written for heareval: %s", target)


def write_heareval(task: Task, embeddings: Embeddings, target: Path) -> None:
    """Write ``embeddings`` of ``task`` as the new folder ``target``, which appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    building = temporary_name(target)
    building.mkdir()
    try:
        with naming(target):
            _write_metadata(task, building)
            for split in task.splits:
                _write_split(task, embeddings, split.name, building)
            os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_metadata(task: Task, folder: Path) -> None:
    metadata = read_json(task.folder / "task_metadata.json")
    # heareval needs these spelled out, where we can do without.
    metadata |= {"task_name": task.name, "splits": [split.name for split in task.splits]}
    (folder / "task_metadata.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")
    for name in ("labelvocabulary.csv", *(f"{split.name}.json" for split in task.splits)):
        shutil.copyfile(task.folder / name, folder / name)


def _write_split(task: Task, embeddings: Embeddings, split: str, folder: Path) -> None:
    rows = embeddings.split_range(split)
    data = embeddings.array()[rows.start : rows.stop]
    data.tofile(folder / f"{split}.embeddings.npy")  # no header, in spite of the name
    (folder / f"{split}.embedding-dimensions.json").write_text(json.dumps(data.shape))
    clips = {clip.name: clip for clip in task.split(split).clips}
    labels: list[list[str]] = []
    if task.embedding_type == "scene":
        labels = [list(clips[clip.name].labels) for clip in embeddings.splits[split]]
    else:
        times_ms, frames = embeddings.timestamps_ms(), []
        for clip in embeddings.splits[split]:
            of_clip = times_ms[clip.start : clip.start + clip.count]
            targets = frame_targets(clips[clip.name].events, of_clip, task.labels)
            labels += [[task.labels[i] for i in np.flatnonzero(target)] for target in targets]
            frames += [[f"{split}/{clip.name}", ms] for ms in of_clip.tolist()]
        (folder / f"{split}.filename-timestamps.json").write_text(json.dumps(frames, indent=1), encoding="utf-8")
    with (folder / f"{split}.target-labels.pkl").open("wb") as file:
        pickle.dump(labels, file, protocol=3)  # heareval is of Python 3.7's time


if __name__ == "__main__":
    start(run, "export_heareval")
