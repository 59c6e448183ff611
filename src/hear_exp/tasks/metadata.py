"""task_metadata.json: a task's settings, read without trusting the file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError, shown
from ..files import read_json
from ..scoring.scores import SCORES, score_kind

SPLIT_MODES = ("trainvaltest", "new_split_kfold", "presplit_kfold")
HINT = "a HEAR task folder has one"
LIMIT_BYTES = 16 << 20  # the largest of HEAR's has 1 kB
MOST_SPLITS = 1000
LONGEST_NAME = 100  # characters; file names have at most 255 bytes


@dataclass(frozen=True)
class TaskMetadata:
    """What task_metadata.json says, in the words of ``task.Task``; ``split_names`` are those of its JSON files."""

    name: str
    version: str
    mode: str
    embedding_type: str
    prediction_type: str
    split_mode: str
    split_names: tuple[str, ...]
    sample_duration_s: float | None
    metrics: tuple[str, ...]
    early_stop_on_score: bool | None  # None: it does not say
    predictor_grid: Mapping[str, Any]
    postprocessing_grid: Mapping[str, Any]


def read_metadata(path: Path) -> TaskMetadata:
    """A task's settings; a task without a name has that of its folder.

    Raises UserError, naming the file, for one that is not JSON, lacks a setting, or has one that is not allowed:
    names that would lead out of the task's folder, unknown scores, scores of the other kind of task.
    """
    metadata = read_json(path, HINT, limit=LIMIT_BYTES)
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: expected a JSON object with the task's settings")
    embedding_type = _choice(path, metadata, "embedding_type", ("scene", "event"))
    prediction_type = _choice(path, metadata, "prediction_type", ("multiclass", "multilabel"))
    split_mode = _choice(path, metadata, "split_mode", SPLIT_MODES)
    if embedding_type == "event" and prediction_type != "multilabel":
        raise UserError(f"{path}: event tasks are multilabel, but prediction_type is {prediction_type!r}")
    params = _settings(path, metadata, "evaluation_params")
    name = _text(path, metadata, "task_name") or path.parent.resolve().name
    if not is_plain_name(name):
        raise UserError(f"{path}: task_name is {shown(name)}, expected a name that a folder can have")
    return TaskMetadata(
        name=name,
        version=_text(path, metadata, "version"),
        mode=_text(path, metadata, "mode"),
        embedding_type=embedding_type,
        prediction_type=prediction_type,
        split_mode=split_mode,
        split_names=_split_names(path, metadata, split_mode),
        sample_duration_s=_duration(path, metadata.get("sample_duration")),
        metrics=_metrics(path, metadata, embedding_type),
        early_stop_on_score=_switch(path, metadata, "use_scoring_for_early_stopping"),
        predictor_grid=_grid(path, params, "task_specific_param_grid"),
        postprocessing_grid=_grid(path, params, "event_postprocessing_grid"),
    )


def is_plain_name(name: str) -> bool:
    """Whether ``name`` can be a file's in the folder where it is looked for, and nowhere else."""
    return (
        0 < len(name) <= LONGEST_NAME and name not in (".", "..") and name.isprintable() and not set("/\\") & set(name)
    )


def _text(path: Path, metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{path}: {key} is {shown(value)}, expected text")
    return str(value)


def _choice(path: Path, metadata: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = metadata.get(key)
    if value not in allowed:
        raise UserError(f"{path}: {key} is {shown(value)}, expected one of: {', '.join(allowed)}")
    return str(value)


def _settings(path: Path, metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = metadata.get(key)
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{path}: {key} is {shown(value)}, expected a JSON object")
    return dict(value or {})


def _grid(path: Path, params: Mapping[str, Any], key: str) -> dict[str, Any]:
    grid = _settings(path, params, key)
    for name, value in grid.items():
        for item in value if isinstance(value, list) else [value]:
            if not (item is None or isinstance(item, str | int | float)):
                raise UserError(
                    f"{path}: {key}.{shown(name)} is {shown(value)}, expected one value or a list of values"
                )
    return grid


def _switch(path: Path, metadata: Mapping[str, Any], key: str) -> bool | None:
    value = metadata.get(key)
    if key in metadata and not isinstance(value, bool):
        raise UserError(f"{path}: {key} is {shown(value)}, expected true or false")
    return value


def _duration(path: Path, value: Any) -> float | None:
    if value is None:
        return None
    if not is_number(value) or not value > 0:
        raise UserError(f"{path}: sample_duration is {shown(value)}, expected seconds above 0, or null")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite JSON number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number with hundreds of digits
        return False


def _metrics(path: Path, metadata: Mapping[str, Any], embedding_type: str) -> tuple[str, ...]:
    metrics = metadata.get("evaluation")
    if not isinstance(metrics, list) or not metrics:
        raise UserError(
            f"{path}: evaluation is {shown(metrics)}, expected a list of score names, the primary one first"
        )
    for name in metrics:
        if not isinstance(name, str) or name not in SCORES:
            raise UserError(f"{path}: unknown score {shown(name)} in evaluation, expected some of: {', '.join(SCORES)}")
        if score_kind(name) != embedding_type:
            raise UserError(
                f"{path}: score {name!r} is for {score_kind(name)} tasks, this one's type is {embedding_type}"
            )
    return tuple(dict.fromkeys(metrics))


def _split_names(path: Path, metadata: Mapping[str, Any], split_mode: str) -> tuple[str, ...]:
    if split_mode == "trainvaltest":
        default = ["train", "valid", "test"]
    elif "nfolds" in metadata:
        folds = metadata["nfolds"]
        if isinstance(folds, bool) or not isinstance(folds, int) or not 1 <= folds <= MOST_SPLITS:
            raise UserError(f"{path}: nfolds is {shown(folds)}, expected a whole number from 1 to {MOST_SPLITS}")
        default = [f"fold{i:02d}" for i in range(folds)]
    else:
        default = []
    names = metadata.get("splits", default)
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise UserError(f"{path}: splits is {shown(names)}, expected a list of different split names")
    for name in names:
        if not is_plain_name(name):
            raise UserError(f"{path}: the split {shown(name)}: expected the name of a JSON file in the task's folder")
    if split_mode == "trainvaltest" and set(names) != {"train", "valid", "test"}:
        raise UserError(f"{path}: splits is {shown(names)}, but split_mode trainvaltest needs train, valid and test")
    if split_mode != "trainvaltest" and not 3 <= len(names) <= MOST_SPLITS:
        raise UserError(f"{path}: {len(names)} folds, but k-fold needs at least 3 (train, valid and test)")
    return tuple(names)
