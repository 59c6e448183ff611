"""A run's figures as rows of a CSV file, written as they come."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..safe_text import cell
from .records import defined
from .tracker import Tracker

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome
    from .result import Result


class CsvTracker(Tracker):
    """Writes one row a metric, at once: stage, fold, grid_point, epoch, name, value.

    Stage ``fit``: a fit ended (``fold``: its test split). ``test``: a fold's test scores. ``result``: the
    run's own figures. What does not apply to a row is empty, as is the value of an undefined score.
    """

    COLUMNS = ("stage", "fold", "grid_point", "epoch", "name", "value")

    def __init__(self, path: Path):
        self._path = Path(path)
        self._file: TextIO | None = None

    def __enter__(self) -> CsvTracker:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", newline="", encoding="utf-8")
        self._write([self.COLUMNS])
        return self

    def __exit__(self, *error: object) -> None:
        assert self._file is not None
        self._file.close()

    def fit_done(self, outcome: FitOutcome) -> None:
        """Append a fit's validation score and loss, epochs and seconds."""
        job = outcome.job
        values = {
            **self._validation(outcome.monitor, defined(outcome.validation_score), defined(outcome.validation_loss)),
            "epochs_run": outcome.epochs_run,
            "seconds": round(outcome.seconds, 3),
        }
        self._write(("fit", job.fold.test, job.point, outcome.epoch, *item) for item in values.items())

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Append the scores of each fold and of the run."""
        for fold in result.folds:
            self._write(("test", fold.test_split, "", fold.epoch, *item) for item in fold.scores.items())
        values = {**self._validation(result.monitor, result.validation_score, result.validation_loss), **result.scores}
        values |= {f"seconds_{stage}": seconds for stage, seconds in result.seconds.items()}
        self._write(("result", "", "", "", *item) for item in values.items())

    @staticmethod
    def _validation(monitor: str, score: float | None, loss: float | None) -> dict[str, float | None]:
        """What selected, always; and the other one of score and loss, where there is one."""
        values = {"validation_score": score, "validation_loss": loss}
        return {name: value for name, value in values.items() if name == f"validation_{monitor}" or value is not None}

    def _write(self, rows: Iterable[Sequence[Any]]) -> None:
        assert self._file is not None, "a tracker records inside its with block"
        csv.writer(self._file).writerows([cell(value) for value in row] for row in rows)
        self._file.flush()
