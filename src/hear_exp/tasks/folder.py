"""A HEAR task folder, read and validated into frozen records."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, shown
from ..files import json_digest, read_json
from ..scoring.event import Event
from .metadata import HINT, TaskMetadata, is_number, read_metadata
from .vocabulary import read_vocabulary

LAST_MS = 1e8  # of an event: 27 hours, which no clip lasts; scoring needs memory for each second before it


@dataclass(frozen=True)
class Clip:
    """One audio file of a split: its labels (scene tasks) or its events (event tasks)."""

    name: str
    labels: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Split:
    """The clips of one split or fold, in the order of its JSON file."""

    name: str
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Fold:
    """Names of the splits that one fit trains on, validates on and is tested on."""

    train: tuple[str, ...]
    valid: str
    test: str


@dataclass(frozen=True)
class Task:
    """A task in HEAR's layout.

    ``labels`` is the vocabulary in index order. ``metrics`` are score names, the first one primary.
    ``predictor_grid`` and ``postprocessing_grid`` are the task's own settings (``evaluation_params`` in the
    metadata), which win over the defaults.
    """

    name: str
    version: str
    folder: Path
    embedding_type: str  # scene | event
    prediction_type: str  # multiclass | multilabel
    split_mode: str
    splits: tuple[Split, ...]
    labels: tuple[str, ...]
    sample_duration_s: float | None
    metrics: tuple[str, ...]
    sample_rates: tuple[int, ...]  # rates the folder holds audio at, ascending; none where it holds embeddings
    early_stop_on_score: bool | None = None  # None: the metadata does not say, and true is meant
    predictor_grid: Mapping[str, Any] = field(default_factory=dict)
    postprocessing_grid: Mapping[str, Any] = field(default_factory=dict)
    mode: str = ""  # which of the task's sizes this is: full, small, 5h, 50h
    digest: str = ""  # of the content (content_digest): with name, version and mode what a task is identified by

    @property
    def primary_metric(self) -> str:
        """Name of the score that selects hyperparameters and is reported first."""
        return self.metrics[0]

    def split(self, name: str) -> Split:
        """The split called ``name``."""
        return next(split for split in self.splits if split.name == name)


def folds(task: Task) -> tuple[Fold, ...]:
    """The fits' splits: one triple, or k of them.

    k-fold: fold names sorted; test = fold i, valid = fold i+1 (mod k), train = the others, sorted.
    """
    if task.split_mode == "trainvaltest":
        return (Fold(train=("train",), valid="valid", test="test"),)
    names = sorted(split.name for split in task.splits)
    triples = []
    for i, test in enumerate(names):
        valid = names[(i + 1) % len(names)]
        triples.append(Fold(tuple(n for n in names if n not in (test, valid)), valid, test))
    return tuple(triples)


def read_task(folder: Path, *, needs_audio: bool = True) -> Task:
    """Read and validate a task folder; without ``needs_audio`` one that holds no audio is fine.

    Raises UserError, naming the file, for anything a run could stumble over later: missing files, unknown
    labels, a multiclass clip without exactly one label, events that end before they start, unknown scores.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"task folder not found: {folder} (expected a folder with task_metadata.json)")
    metadata = read_metadata(folder / "task_metadata.json")
    labels = read_vocabulary(folder / "labelvocabulary.csv")
    splits = tuple(_read_split(folder, name, metadata, frozenset(labels)) for name in metadata.split_names)
    rates = _sample_rates(folder)
    if needs_audio and not rates:
        raise UserError(f"{folder}: no audio folder (expected one named after its sample rate, such as 48000)")
    task = Task(
        name=metadata.name,
        version=metadata.version,
        folder=folder,
        embedding_type=metadata.embedding_type,
        prediction_type=metadata.prediction_type,
        split_mode=metadata.split_mode,
        splits=splits,
        labels=labels,
        sample_duration_s=metadata.sample_duration_s,
        metrics=metadata.metrics,
        sample_rates=rates,
        early_stop_on_score=metadata.early_stop_on_score,
        predictor_grid=metadata.predictor_grid,
        postprocessing_grid=metadata.postprocessing_grid,
        mode=metadata.mode,
    )
    return dataclasses.replace(task, digest=content_digest(task))


def content_digest(task: Task) -> str:
    """12 hexadecimal digits of everything in a task's folder but its audio that decides scores.

    That is what its JSON and CSV files mean, not how they are written, nor where the folder is. The order of
    splits and of their clips counts, since it decides the order of rows. Metadata that nothing here reads is no part.
    """
    settings = (
        "embedding_type",
        "prediction_type",
        "split_mode",
        "labels",
        "sample_duration_s",
        "metrics",
        "early_stop_on_score",
        "predictor_grid",
        "postprocessing_grid",
    )
    splits = [
        (
            split.name,
            [
                (clip.name, clip.labels, [(event.label, event.start_ms, event.end_ms) for event in clip.events])
                for clip in split.clips
            ],
        )
        for split in task.splits
    ]
    return json_digest([{name: getattr(task, name) for name in settings}, splits])[:12]


def _sample_rates(folder: Path) -> tuple[int, ...]:
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None
    return tuple(sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]{0,6}", name)))


def _read_split(folder: Path, name: str, metadata: TaskMetadata, known: frozenset[str]) -> Split:
    path = folder / f"{name}.json"
    content = read_json(path, HINT)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object from file name to labels")
    if not content:
        raise UserError(f"{path}: the split has no clips")
    clips = []
    for clip, entries in content.items():
        where = f"{path}: {clip}"
        if Path(clip).name != clip or clip in ("", ".", "..") or "\0" in clip:
            raise UserError(f"{where}: expected a plain file name, without folders")
        if not isinstance(entries, list):
            raise UserError(f"{where}: expected a list, got {shown(entries)}")
        if metadata.embedding_type == "event":
            clips.append(Clip(clip, events=tuple(_event(where, e, known) for e in entries)))
        else:
            clips.append(Clip(clip, labels=_labels(where, entries, metadata.prediction_type, known)))
    return Split(name, tuple(clips))


def _labels(where: str, entries: list[Any], prediction_type: str, known: frozenset[str]) -> tuple[str, ...]:
    labels = tuple(_label(where, entry, known) for entry in entries)
    if prediction_type == "multiclass" and len(labels) != 1:
        raise UserError(
            f"{where}: a multiclass clip has exactly one label, this one has {len(labels)}: {shown(entries)}"
        )
    return labels


def _label(where: str, value: Any, known: frozenset[str]) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{where}: a label is a string or an integer, got {shown(value)}")
    if str(value) not in known:
        raise UserError(f"{where}: label {shown(value)} is not in labelvocabulary.csv")
    return str(value)


def _event(where: str, entry: Any, known: frozenset[str]) -> Event:
    if not isinstance(entry, dict) or not {"label", "start", "end"} <= set(entry):
        raise UserError(f"{where}: an event is an object with label, start and end (milliseconds), got {shown(entry)}")
    start, end = entry["start"], entry["end"]
    for value in (start, end):
        if not is_number(value) or value < 0:
            raise UserError(f"{where}: event times are milliseconds from 0 up, got {shown(entry)}")
        if value > LAST_MS:
            raise UserError(
                f"{where}: an event at {value:g} ms, which is over a day; expected milliseconds: {shown(entry)}"
            )
    if end < start:
        raise UserError(f"{where}: the event ends ({end} ms) before it starts ({start} ms): {shown(entry)}")
    return Event(_label(where, entry["label"], known), float(start), float(end))
