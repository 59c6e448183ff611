"""A HEAR task folder, read and validated into frozen records."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import json_digest
from .scores import SCORES, score_kind

SPLIT_MODES = ("trainvaltest", "new_split_kfold", "presplit_kfold")


@dataclass(frozen=True)
class Event:
    """A labelled stretch of a clip; times in milliseconds from the clip's start."""

    label: str
    start_ms: float
    end_ms: float


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
    path = folder / "task_metadata.json"
    metadata = _read_json(path)
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: expected a JSON object with the task's settings")
    embedding_type = _choice(path, metadata, "embedding_type", ("scene", "event"))
    prediction_type = _choice(path, metadata, "prediction_type", ("multiclass", "multilabel"))
    split_mode = _choice(path, metadata, "split_mode", SPLIT_MODES)
    if embedding_type == "event" and prediction_type != "multilabel":
        raise UserError(f"{path}: event tasks are multilabel, but prediction_type is {prediction_type!r}")
    labels = _read_vocabulary(folder / "labelvocabulary.csv")
    splits = tuple(
        _read_split(folder, name, embedding_type, prediction_type, frozenset(labels))
        for name in _split_names(path, metadata, split_mode)
    )
    params = _settings(path, metadata, "evaluation_params")
    rates = sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
    if needs_audio and not rates:
        raise UserError(f"{folder}: no audio folder (expected one named after its sample rate, such as 48000)")
    task = Task(
        name=str(metadata.get("task_name", folder.name)),
        version=str(metadata.get("version") or ""),
        folder=folder,
        embedding_type=embedding_type,
        prediction_type=prediction_type,
        split_mode=split_mode,
        splits=splits,
        labels=labels,
        sample_duration_s=_duration(path, metadata.get("sample_duration")),
        metrics=_metrics(path, metadata, embedding_type),
        sample_rates=tuple(rates),
        early_stop_on_score=_switch(path, metadata, "use_scoring_for_early_stopping"),
        predictor_grid=_settings(path, params, "task_specific_param_grid"),
        postprocessing_grid=_settings(path, params, "event_postprocessing_grid"),
        mode=str(metadata.get("mode") or ""),
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


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"file not found: {path} (a HEAR task folder has one)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error


def _choice(path: Path, metadata: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = metadata.get(key)
    if value not in allowed:
        raise UserError(f"{path}: {key} is {value!r}, expected one of: {', '.join(allowed)}")
    return str(value)


def _settings(path: Path, metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = metadata.get(key)
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{path}: {key} is {value!r}, expected a JSON object")
    return dict(value or {})


def _switch(path: Path, metadata: Mapping[str, Any], key: str) -> bool | None:
    value = metadata.get(key)
    if key in metadata and not isinstance(value, bool):
        raise UserError(f"{path}: {key} is {value!r}, expected true or false")
    return value


def _duration(path: Path, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{path}: sample_duration is {value!r}, expected seconds above 0, or null")
    return float(value)


def _metrics(path: Path, metadata: Mapping[str, Any], embedding_type: str) -> tuple[str, ...]:
    metrics = metadata.get("evaluation")
    if not isinstance(metrics, list) or not metrics:
        raise UserError(f"{path}: evaluation is {metrics!r}, expected a list of score names, the primary one first")
    for name in metrics:
        if not isinstance(name, str) or name not in SCORES:
            raise UserError(f"{path}: unknown score {name!r} in evaluation, expected some of: {', '.join(SCORES)}")
        if score_kind(name) != embedding_type:
            raise UserError(
                f"{path}: score {name!r} is for {score_kind(name)} tasks, this one's type is {embedding_type}"
            )
    return tuple(metrics)


def _split_names(path: Path, metadata: Mapping[str, Any], split_mode: str) -> list[str]:
    if split_mode == "trainvaltest":
        default = ["train", "valid", "test"]
    elif "nfolds" in metadata:
        folds = metadata["nfolds"]
        if isinstance(folds, bool) or not isinstance(folds, int):
            raise UserError(f"{path}: nfolds is {folds!r}, expected a whole number")
        default = [f"fold{i:02d}" for i in range(folds)]
    else:
        default = []
    names = metadata.get("splits", default)
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise UserError(f"{path}: splits is {names!r}, expected a list of different split names")
    if split_mode == "trainvaltest" and set(names) != {"train", "valid", "test"}:
        raise UserError(f"{path}: splits is {names!r}, but split_mode trainvaltest needs train, valid and test")
    if split_mode != "trainvaltest" and len(names) < 3:
        raise UserError(f"{path}: {len(names)} folds, but k-fold needs at least 3 (train, valid and test)")
    return names


def _read_vocabulary(path: Path) -> tuple[str, ...]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except FileNotFoundError:
        raise UserError(f"file not found: {path} (a HEAR task folder has one, with columns idx,label)") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from error
    if not rows or not {"idx", "label"} <= set(reader.fieldnames or ()):
        raise UserError(f"{path}: expected the columns idx,label and at least one row")
    try:
        by_index = {int(row["idx"]): str(row["label"]) for row in rows}
    except (TypeError, ValueError):
        raise UserError(f"{path}: a value of the column idx is not an integer") from None
    if sorted(by_index) != list(range(len(rows))):
        raise UserError(f"{path}: idx must count 0, 1, 2, ... without gaps or repeats")
    if any(row["label"] is None for row in rows):
        raise UserError(f"{path}: a row has no label")
    labels = tuple(by_index[i] for i in range(len(rows)))
    if len(set(labels)) != len(labels):
        raise UserError(f"{path}: a label is listed twice")
    return labels


def _read_split(folder: Path, name: str, embedding_type: str, prediction_type: str, known: frozenset[str]) -> Split:
    path = folder / f"{name}.json"
    content = _read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object from file name to labels")
    if not content:
        raise UserError(f"{path}: the split has no clips")
    clips = []
    for clip, entries in content.items():
        where = f"{path}: {clip}"
        if Path(clip).name != clip or clip in ("", ".", ".."):
            raise UserError(f"{where}: expected a plain file name, without folders")
        if not isinstance(entries, list):
            raise UserError(f"{where}: expected a list, got {entries!r}")
        if embedding_type == "event":
            clips.append(Clip(clip, events=tuple(_event(where, e, known) for e in entries)))
        else:
            clips.append(Clip(clip, labels=_labels(where, entries, prediction_type, known)))
    return Split(name, tuple(clips))


def _labels(where: str, entries: list[Any], prediction_type: str, known: frozenset[str]) -> tuple[str, ...]:
    labels = tuple(_label(where, entry, known) for entry in entries)
    if prediction_type == "multiclass" and len(labels) != 1:
        raise UserError(f"{where}: a multiclass clip has exactly one label, this one has {len(labels)}: {entries!r}")
    return labels


def _label(where: str, value: Any, known: frozenset[str]) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{where}: a label is a string or an integer, got {value!r}")
    if str(value) not in known:
        raise UserError(f"{where}: label {value!r} is not in labelvocabulary.csv")
    return str(value)


def _event(where: str, entry: Any, known: frozenset[str]) -> Event:
    if not isinstance(entry, dict) or not {"label", "start", "end"} <= set(entry):
        raise UserError(f"{where}: an event is an object with label, start and end (milliseconds), got {entry!r}")
    start, end = entry["start"], entry["end"]
    for value in (start, end):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise UserError(f"{where}: event times are milliseconds from 0 up, got {entry!r}")
    if end < start:
        raise UserError(f"{where}: the event ends ({end} ms) before it starts ({start} ms): {entry!r}")
    return Event(_label(where, entry["label"], known), float(start), float(end))
