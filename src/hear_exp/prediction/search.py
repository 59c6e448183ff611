"""Folds and grid: fits side by side, selection by validation, test."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import UserError
from ..scoring.scores import higher_is_better
from ..tasks.audio import cpu_count
from ..tasks.folder import folds
from .batches import check_batches
from .embedding_range import check_finite_fits, check_range
from .fit import run_fit, run_test
from .fit_doubts import fit_doubts
from .fit_store import FitStore
from .outcome import FitJob, FitOutcome
from .own_code import check_unchanged
from .pool import DeadWorkerError, make_pool
from .predictor import Predictor
from .problem import Problem

log = logging.getLogger(__name__)

OnFit = Callable[[FitOutcome], None]
OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class SearchOutcome:
    """``grid``: every point's fit on the first fold, in grid order; ``folds``: the winner's fit on every fold."""

    grid: tuple[FitOutcome, ...]
    winner: int
    folds: tuple[FitOutcome, ...]
    search_seconds: float
    test_seconds: float
    doubts: tuple[str, ...] = ()  # sentences about what may be wrong with the scores


def search(
    problem: Problem,
    points: Sequence[Predictor],
    workers: int | str = "auto",
    on_fit: OnFit = lambda outcome: None,
    on_progress: OnProgress = lambda done, total, note: None,
    store: FitStore | None = None,
) -> SearchOutcome:
    """Fit every grid point on the first fold, take the best by validation, fit it on the other folds, test all.

    Ties go to the earlier grid point. ``on_fit`` is called as fits end, ``on_progress`` with (done, total, note).
    Fits are kept in ``store`` as they end, and those it holds already are not done again; ``on_fit`` hears of both.
    """
    started = time.perf_counter()
    rows = {split.name: len(problem.embeddings.split_range(split.name)) for split in problem.task.splits}
    check_batches(problem.task, problem.protocol, points, rows)
    check_range(problem)
    check_unchanged(type(points[0]))
    triples = folds(problem.task)
    jobs = [FitJob(i, point, 0, triples[0], test=False) for i, point in enumerate(points)]
    with _Runner(problem, workers, len(jobs) + len(triples) - 1, on_fit, on_progress, store) as run:
        grid = run(jobs)
        check_finite_fits(grid, problem)
        winner = best_point(grid, problem)
        chosen = grid[winner].job
        others = [replace(chosen, fold_index=i, fold=fold, test=True) for i, fold in enumerate(triples)][1:]
        fitted = run(others)
    searched = time.perf_counter()
    first = replace(grid[winner], tested=run_test(problem, grid[winner]))
    _tell_undefined((first, *fitted), problem)
    doubts = fit_doubts(grid, winner, fitted, problem.task.primary_metric)
    for doubt in doubts:
        log.warning("%s", doubt)
    return SearchOutcome(
        grid=tuple(grid),
        winner=winner,
        folds=(first, *fitted),
        search_seconds=searched - started,
        test_seconds=time.perf_counter() - searched,
        doubts=doubts,
    )


def best_point(grid: Sequence[FitOutcome], problem: Problem) -> int:
    """Index of the grid point with the best validation score (or lowest loss); the first of several."""
    maximize = grid[0].monitor == "score" and higher_is_better(problem.task.primary_metric)

    def value(i: int) -> float:
        monitored = grid[i].monitored
        if math.isnan(monitored):
            return -math.inf
        return monitored if maximize else -monitored

    return max(range(len(grid)), key=value)  # max keeps the first of equals


def _tell_undefined(fits: Sequence[FitOutcome], problem: Problem) -> None:
    metric = problem.task.primary_metric
    splits: dict[str, list[str]] = {}
    for tested in (fit.tested for fit in fits):
        if tested is not None and math.isnan(tested.scores[metric]):
            splits.setdefault(tested.undefined[metric], []).append(tested.split)
    for reason, names in splits.items():
        log.warning("%s is undefined on %s: %s", metric, ", ".join(names), reason)


def pick_workers(setting: int | str, fits: int, problem: Problem) -> int:
    """Worker processes for ``fits`` fits; auto: as many as the cores carry, one where an accelerator is shared."""
    if setting == "auto":
        if problem.accelerator != "cpu":
            return 1
        return max(1, min(fits, cpu_count() // problem.threads))
    return min(int(setting), fits)


class _Runner:
    """Runs the search's jobs, here or in worker processes, but for those kept in ``store``, and tells how far it is."""

    def __init__(
        self,
        problem: Problem,
        workers: int | str,
        total: int,
        on_fit: OnFit,
        on_progress: OnProgress,
        store: FitStore | None,
    ):
        self._pool = make_pool(run_fit, problem, pick_workers(workers, total, problem))
        self._total, self._done = total, 0
        self._on_fit, self._on_progress, self._store = on_fit, on_progress, store

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

    def __call__(self, jobs: Sequence[FitJob]) -> list[FitOutcome]:
        """The outcomes of ``jobs``, in their order. Raises UserError where a worker died."""
        self._tell("")
        found = self._kept(jobs)
        missing = [i for i in range(len(jobs)) if i not in found]
        try:
            fitted = self._pool.run([jobs[i] for i in missing], self._ended, self._tell)
        except DeadWorkerError as error:
            raise UserError(
                f"a search worker died {error}, most likely because memory ran out; try fewer with search.workers=1 "
                "(fits that have ended are kept, and used by the same command)"
            ) from error
        outcomes = found | dict(zip(missing, fitted, strict=True))
        return [outcomes[i] for i in range(len(jobs))]

    def _kept(self, jobs: Sequence[FitJob]) -> dict[int, FitOutcome]:
        """Place in ``jobs`` -> outcome, of those that an earlier run has left."""
        if self._store is None:
            return {}
        read = {i: self._store.read(job) for i, job in enumerate(jobs)}
        found = {i: outcome for i, outcome in read.items() if outcome is not None}
        if found:
            log.info("%d of %d fits found, kept by an earlier run that did not finish", len(found), len(jobs))
        for outcome in found.values():
            self._count(outcome)
        return found

    def _ended(self, index: int, outcome: FitOutcome) -> None:
        if self._store is not None:
            self._store.keep(outcome)
        self._count(outcome)

    def _count(self, outcome: FitOutcome) -> None:
        self._done += 1
        self._on_fit(outcome)
        self._tell("")

    def _tell(self, note: str) -> None:
        self._on_progress(self._done, self._total, note)
