"""Folds and grid: fits side by side, selection by validation, test."""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

from .audio import cpu_count
from .errors import UserError
from .fit import FitJob, FitOutcome, Problem, run_fit, run_test
from .scores import higher_is_better
from .task import folds

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
    points: Sequence[dict[str, Any]],
    workers: int | str = "auto",
    on_fit: OnFit = lambda outcome: None,
    on_progress: OnProgress = lambda done, total, note: None,
) -> SearchOutcome:
    """Fit every grid point on the first fold, take the best by validation, fit it on the other folds, test all.

    Ties go to the earlier grid point. ``on_fit`` is called as fits end, ``on_progress`` with (done, total, note).
    """
    started = time.perf_counter()
    triples = folds(problem.task)
    jobs = [FitJob(i, point, 0, triples[0], test=False) for i, point in enumerate(points)]
    total = len(jobs) + len(triples) - 1
    with _runner(problem, pick_workers(workers, total, problem), on_progress, total) as run:
        grid = run(jobs, on_fit)
        _tell_ended_by_quirk(grid, "grid points", problem)
        winner = best_point(grid, problem)
        chosen = grid[winner].job
        others = [replace(chosen, fold_index=i, fold=fold, test=True) for i, fold in enumerate(triples)][1:]
        fitted = run(others, on_fit)
        _tell_ended_by_quirk(fitted, "fits on the other folds", problem)
    searched = time.perf_counter()
    first = replace(grid[winner], tested=run_test(problem, grid[winner]))
    _tell_undefined((first, *fitted), problem)
    return SearchOutcome(
        grid=tuple(grid),
        winner=winner,
        folds=(first, *fitted),
        search_seconds=searched - started,
        test_seconds=time.perf_counter() - searched,
    )


def best_point(grid: Sequence[FitOutcome], problem: Problem) -> int:
    """Index of the grid point with the best validation score (or lowest loss); the first of several."""
    by_score = problem.monitor == "score" or "k" in grid[0].job.hyperparameters  # neighbours have no loss
    maximize = by_score and higher_is_better(problem.task.primary_metric)

    def value(i: int) -> float:
        score = grid[i].validation_score
        if math.isnan(score):
            return -math.inf
        return score if maximize else -score

    return max(range(len(grid)), key=value)  # max keeps the first of equals


def _tell_undefined(fits: Sequence[FitOutcome], problem: Problem) -> None:
    metric = problem.task.primary_metric
    undefined = [fit.tested.split for fit in fits if fit.tested and math.isnan(fit.tested.scores[metric])]
    if undefined:
        log.warning("%s is undefined on %s: nothing to score was predicted or annotated", metric, ", ".join(undefined))


def _tell_ended_by_quirk(fits: Sequence[FitOutcome], what: str, problem: Problem) -> None:
    ended = [fit for fit in fits if fit.stopped_by == "score_undefined"]
    if ended:
        log.warning(
            "%d of %d %s ended early, the first after epoch %d, at a validation whose %s is undefined (no event was "
            "predicted), as in HEAR 2021; protocol=fixed counts it as 0 and trains on",
            len(ended),
            len(fits),
            what,
            min(fit.epochs_run for fit in ended),
            problem.task.primary_metric,
        )


def pick_workers(setting: int | str, fits: int, problem: Problem) -> int:
    """Worker processes for ``fits`` fits; auto: as many as the cores carry, one where an accelerator is shared."""
    if setting == "auto":
        if problem.accelerator != "cpu":
            return 1
        return max(1, min(fits, cpu_count() // problem.threads))
    return min(int(setting), fits)


def check_workers(workers: int | str, threads: int) -> None:
    """Raises UserError unless both are numbers from 1 up (workers: or auto)."""
    for name, value, also in (("workers", workers, ", or auto"), ("threads", threads, "")):
        if value == "auto" and also:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"search.{name} is {value!r}, expected a number from 1 up{also}")


@contextlib.contextmanager
def _runner(
    problem: Problem, workers: int, on_progress: OnProgress, total: int
) -> Iterator[Callable[[Sequence[FitJob], OnFit], list[FitOutcome]]]:
    """A function that runs jobs and returns their outcomes in order, here or in worker processes."""
    done = 0
    if workers == 1:

        def report(note: str) -> None:
            on_progress(done, total, note)

        def run_here(jobs: Sequence[FitJob], on_fit: OnFit) -> list[FitOutcome]:
            nonlocal done
            outcomes = []
            for job in jobs:
                on_progress(done, total, "")
                outcomes.append(run_fit(problem, job, report))
                done += 1
                on_fit(outcomes[-1])
            on_progress(done, total, "")
            return outcomes

        yield run_here
        return

    context = _context()
    _start_fork_server()
    notes = context.SimpleQueue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(problem, notes))

    def run_there(jobs: Sequence[FitJob], on_fit: OnFit) -> list[FitOutcome]:
        nonlocal done
        futures: dict[Future[FitOutcome], int] = {pool.submit(_work, job): i for i, job in enumerate(jobs)}
        outcomes: dict[int, FitOutcome] = {}
        pending = set(futures)
        note = ""
        on_progress(done, total, note)
        while pending:
            finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in finished:
                outcomes[futures[future]] = future.result()
                done += 1
                on_fit(outcomes[futures[future]])
            # The pool itself may notice a death only once some fit ends: it watches before the last worker starts.
            if pending and not all(process.is_alive() for process in list((pool._processes or {}).values())):
                raise BrokenProcessPool("a worker is not alive")
            while not notes.empty():
                note = notes.get()
            on_progress(done, total, note)
        return [outcomes[i] for i in range(len(jobs))]

    try:
        yield run_there
    except BrokenProcessPool as error:
        raise UserError(
            "a search worker died, most likely because memory ran out; try fewer with search.workers=1"
        ) from error
    finally:
        # On an error or Ctrl-C the workers are in the middle of long fits that nobody waits for any more.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def _context() -> Any:
    """A fork server that has imported the heavy modules once, where there is one; else fresh processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hear_exp.fit"])
    return context


def warm_up() -> None:
    """Start importing the heavy modules in the background, for the workers that a search will want."""
    if cpu_count() > 1:
        _context()
        threading.Thread(target=_start_fork_server, daemon=True).start()


def _start_fork_server() -> None:
    """Start it, where there is one, deaf to Ctrl-C: it would print a traceback in the middle of its imports.

    The mask of signals is the calling thread's, and the server and its workers inherit it.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    from multiprocessing import forkserver

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_problem: Problem
_notes: Any


def _start_worker(problem: Problem, notes: Any) -> None:
    global _problem, _notes
    _problem, _notes = problem, notes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(job: FitJob) -> FitOutcome:
    return run_fit(_problem, job, _notes.put)
