"""The record of a finished run: Result <-> result.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import read_json, write_json
from .records import from_json, to_json
from .task_id import TaskId


@dataclass(frozen=True)
class FoldResult:
    """One fold's test: ``epoch`` counts from 0; ``postprocessing`` is None for scene tasks."""

    test_split: str
    scores: Mapping[str, float | None]  # None where a score is undefined; may be infinite
    validation_score: float | None
    epoch: int
    epochs_run: int
    stopped_by: str
    postprocessing: Mapping[str, float] | None
    seconds: float
    validation_loss: float | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)  # score -> why it is undefined


@dataclass(frozen=True)
class GridResult:
    """One grid point's fit on the first fold."""

    hyperparameters: Mapping[str, Any]
    validation_score: float | None
    epoch: int
    epochs_run: int
    stopped_by: str
    seconds: float
    validation_loss: float | None = None


@dataclass(frozen=True)
class Result:
    """A finished run. ``score`` is the primary score on test (its mean over folds).

    ``scores`` maps a name to its value and, where there are folds, NAME_mean and NAME_std (ddof 1) as well.
    Of an undefined score (None) ``undefined`` holds the reason.
    ``validation_score`` and ``validation_loss`` are the winner's at its best epoch on the first fold (None where
    there was none to have); ``monitor`` is the one that chose epochs and hyperparameters.
    A task is the same if name, version, mode and digest (of its metadata, labels and splits) are; runs are the same
    if ``identity``, which covers all that decides the scores, is. ``doubts`` are sentences about what may be wrong
    with the scores. ``leaderboard`` is where the score stands among the published ones (the fields of
    leaderboard.Rank); None for a task that is not on the leaderboard.
    ``parts``: for a task that consists of several, each one's score, winner and embeddings.
    """

    model: str
    task: str
    task_version: str
    protocol: str
    protocol_changes: Mapping[str, Any]
    primary_metric: str
    higher_is_better: bool
    score: float | None
    scores: Mapping[str, float | None]
    validation_score: float | None
    folds: tuple[FoldResult, ...]
    predictor: str
    hyperparameters: Mapping[str, Any]
    grid: tuple[GridResult, ...]
    seed: int
    seconds: Mapping[str, float]
    clips: int
    embedding_key: str
    embedding_dim: int
    monitor: str = "score"  # what selected: score (the primary one) or loss
    finished: str = ""  # local time, ISO 8601
    versions: Mapping[str, str] = field(default_factory=dict)
    leaderboard: Mapping[str, Any] | None = None
    parts: Mapping[str, Mapping[str, Any]] | None = None
    task_mode: str = ""
    task_digest: str = ""
    identity: str = ""
    validation_loss: float | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()  # from the evaluation of the published scores, in words
    embedding_content: str = ""  # digest of the embeddings' bytes
    computation: Mapping[str, Any] = field(default_factory=dict)  # precision, threads and accelerator of the fits
    model_options: Mapping[str, Any] = field(default_factory=dict)  # weights and options that the model was made with

    @property
    def monitored(self) -> float | None:
        """The validation value that selected: score or loss."""
        return self.validation_loss if self.monitor == "loss" else self.validation_score

    @property
    def embedding_id(self) -> str:
        """What the embeddings are known by: their key, and their bytes, which not every model makes the same again."""
        return "-".join(part for part in (self.embedding_key, self.embedding_content[:6]) if part)

    @property
    def task_id(self) -> TaskId:
        """What the task is known by."""
        return TaskId(self.task, self.task_version, self.task_mode, self.task_digest)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the primary score over folds; None without folds."""
        return self.scores.get(f"{self.primary_metric}_std")


def write_result(folder: Path, result: Result) -> Path:
    """Write RESULT/result.json, atomically: it is there whole or not at all.

    An infinite score is the string "inf" or "-inf" there, an undefined one null. Raises ValueError for nan.
    """
    return write_json(Path(folder) / "result.json", to_json(result))


def read_result(path: Path) -> Result:
    """Read a result.json (or the run folder that holds one), also of an earlier version.

    Raises UserError, naming the file, for anything that is not a result.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "result.json"
    content = read_json(path, "a run without result.json did not finish")
    try:
        return from_json(Result, _losses_apart(content))
    except ValueError as error:
        raise UserError(f"{path}: not a result of hear_exp: {error}") from None


def _losses_apart(content: Any) -> Any:
    """``content`` with losses in fields of their own: before there were any, they stood in validation_score."""
    if not isinstance(content, dict) or content.get("monitor") != "loss" or "validation_loss" in content:
        return content
    if "k" in (content.get("hyperparameters") or ()):  # neighbours have no loss: theirs were scores
        return {**content, "monitor": "score"}

    def apart(record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        return {**record, "validation_score": None, "validation_loss": record.get("validation_score")}

    lists = {
        name: [apart(record) for record in content[name]]
        for name in ("folds", "grid")
        if isinstance(content.get(name), list)
    }
    return {**apart(content), **lists}
