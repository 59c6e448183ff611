"""Finished runs, found on disk and gathered into the rows of a comparison.

A row is a model (with its options and weights), a predictor and a protocol on a task. Of runs that differ in
settings, those of the setting with the best mean validation count; runs that differ only in seed are averaged; of
runs that are repeated, the newest counts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from ..results.averages import deviation, mean
from ..results.evaluation import searched, variant
from ..results.result import Result, read_result
from ..results.task_id import TaskId

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)

REPEATED = "a newer run of the same seed and settings counts"
OTHER_SETTINGS = "other settings have a better validation"


@dataclass(frozen=True)
class Run:
    """A finished run; ``date`` is the local time it ended at."""

    result: Result
    folder: Path
    date: datetime.datetime


@dataclass(frozen=True)
class Row:
    """Runs that are one entry of a comparison; at least one of them counts.

    ``runs``: those that count, of one setting, a seed each. ``not_counted``: the others, each with the reason.
    ``settings``: how many settings were tried.
    """

    runs: tuple[Run, ...]
    not_counted: tuple[tuple[Run, str], ...]
    settings: int

    @property
    def result(self) -> Result:
        """The first of the runs that count; what it says of model, task, predictor and protocol holds for all."""
        return self.runs[0].result

    @property
    def date(self) -> datetime.datetime:
        """When the last of the runs that count ended."""
        return max(run.date for run in self.runs)

    @property
    def score(self) -> float | None:
        """The mean primary test score over seeds; None where that of a seed is undefined."""
        return mean([run.result.score for run in self.runs])

    @property
    def seed_spread(self) -> float | None:
        """Standard deviation (ddof 1) of the score over seeds; None of one seed, or of scores not all finite."""
        return deviation([run.result.score for run in self.runs])

    @property
    def fold_spread(self) -> float | None:
        """Standard deviation over folds, averaged over seeds; None without folds."""
        return mean([run.result.spread for run in self.runs])

    @property
    def doubts(self) -> tuple[str, ...]:
        """What may be wrong with the scores that count, each once."""
        return tuple(dict.fromkeys(doubt for run in self.runs for doubt in run.result.doubts))


@dataclass(frozen=True)
class Comparison:
    """The rows of one task and primary metric, the best first, undefined scores last."""

    task: TaskId
    metric: str
    higher_is_better: bool
    rows: tuple[Row, ...]

    def is_best(self, row: Row) -> bool:
        """Whether no row has a better test score."""
        return row.score is not None and row.score == self.rows[0].score


def find_runs(root: Path) -> tuple[list[Run], list[str]]:
    """The finished runs under ROOT/runs, and a sentence for each result that cannot be read."""
    runs, unreadable = [], []
    for path in sorted((Path(root) / "runs").rglob("result.json")):
        try:
            result = read_result(path)
            runs.append(Run(result, path.parent, _ended(result, path)))
        except (UserError, OSError) as error:
            unreadable.append(str(error))
    return runs, unreadable


def _ended(result: Result, path: Path) -> datetime.datetime:
    """When a run ended, without a time zone; of a result that does not say, when it was written."""
    try:
        return datetime.datetime.fromisoformat(result.finished).replace(tzinfo=None)
    except ValueError:
        return datetime.datetime.fromtimestamp(path.stat().st_mtime)


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """The comparisons that ``runs`` allow, by task."""

    def what(run: Run) -> tuple[TaskId, str, bool]:
        return run.result.task_id, run.result.primary_metric, run.result.higher_is_better

    comparisons = []
    for (task, metric, higher), group in sorted(_grouped(runs, what).items()):
        rows = [_row(alike) for alike in _grouped(group, lambda run: variant(run.result)).values()]
        rows.sort(key=lambda row: (*_worse(row.score, higher), row.date))
        comparisons.append(Comparison(task, metric, higher, tuple(rows)))
    return comparisons


def _row(runs: Sequence[Run]) -> Row:
    newest: list[Run] = []
    not_counted: list[tuple[Run, str]] = []
    repeats = _grouped(runs, lambda run: (searched(run.result), run.result.seed))
    for group in repeats.values():
        *older, last = sorted(group, key=lambda run: (run.date, run.folder))
        newest.append(last)
        not_counted += [(run, REPEATED) for run in older]
    tried = list(_grouped(newest, lambda run: searched(run.result)).values())
    chosen = min(tried, key=_worse_validation)  # the first of equals
    not_counted += [(run, OTHER_SETTINGS) for group in tried if group is not chosen for run in group]
    return Row(tuple(sorted(chosen, key=lambda run: run.result.seed)), tuple(not_counted), len(tried))


def _worse_validation(runs: Sequence[Run]) -> tuple[bool, float]:
    """Orders settings from the best mean validation (over their seeds) to the worst, undefined ones last."""
    result = runs[0].result
    higher = result.monitor == "score" and result.higher_is_better
    return _worse(mean([run.result.monitored for run in runs]), higher)


def _worse(score: float | None, higher_is_better: bool) -> tuple[bool, float]:
    if score is None:
        return True, 0.0
    return False, -score if higher_is_better else score


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
