"""What is known of a job before its model is loaded: its audio, and whether such embeddings are in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..cli.sweep_plan import JobFacts
from ..embeddings.manifest import MANIFEST, read_manifest
from ..embeddings.model_choice import Model
from ..errors import UserError
from ..files import json_digest, read_json
from ..tasks.folder import Task
from .config import Computed, Settings


def facts_of(settings: Settings, tasks: Sequence[Task]) -> JobFacts | None:
    """The facts of a job on ``tasks``; None where nothing is embedded, or the task is yet to be generated."""
    if not tasks or not isinstance(settings.embeddings, Computed):
        return None
    cache, model = settings.paths.embeddings, settings.model
    seconds = [_seconds(task) for task in tasks]
    return JobFacts(
        entry=json_digest([[str(task.folder) for task in tasks], model.settings]),
        clips=sum(len(split.clips) for task in tasks for split in task.splits),
        audio_s=None if None in seconds else sum(each or 0.0 for each in seconds),
        is_event=tasks[0].embedding_type == "event",
        cached=all(_is_cached(task, model, cache) for task in tasks),
        cache=cache,
    )


def _seconds(task: Task) -> float | None:
    clips = sum(len(split.clips) for split in task.splits)
    return None if task.sample_duration_s is None else clips * task.sample_duration_s


def _is_cached(task: Task, model: Model, cache: Path) -> bool:
    """Whether a whole entry has the task's clips by this module, these options, and weights of this name."""
    clips = {split.name: {clip.name for clip in split.clips} for split in task.splits}
    for path in (cache / task.name).glob(f"*/{MANIFEST}"):
        try:
            made = read_json(path.with_name("key.json"))["model"]
            if made["module"] != model.module or made["options"] != dict(model.options):
                continue
            weights = Path(model.weights).name
            if model.weights and not any(str(each).startswith(f"{weights} ") for each in made["weights"]):
                continue
            manifest = read_manifest(path, path.parent.name.rpartition("-")[2])
        except (UserError, OSError, KeyError, TypeError):
            continue
        if clips == {name: {clip.name for clip in rows} for name, rows in manifest.splits.items()}:
            return True
    return False
