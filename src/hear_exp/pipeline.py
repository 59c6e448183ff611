"""The pipeline on one screen: each plan's task is embedded; unless the result is there, searched, scored, recorded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cli.run_record import begin
from .embeddings.embed import Embedded
from .lenient import only_warn
from .prediction.fit_store import FitStore
from .prediction.identity import Identity, run_identity
from .prediction.pool import warm_up
from .prediction.problem import Problem
from .prediction.search import OnFit, SearchOutcome, search
from .progress import console, progress
from .report.pictures import draw_pictures
from .report.run_table import show_result
from .results.beside import write_beside
from .results.finished import Finished, Index, RunId
from .results.gather import make_result
from .results.job_notes import write_embedded, write_found
from .results.parts import fit_of_part, join_results
from .results.result import Result, write_result
from .results.task_id import TaskId, joined, task_id
from .results.tracking import make_tracker
from .settings.config import Settings
from .settings.objects import Source, load_source, make_problem, open_fits
from .settings.plans import Plan, published_points
from .tasks.doubts import data_doubts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """A plan whose task is embedded: everything that its search needs, and what it is known by."""

    plan: Plan
    embedded: Embedded
    problem: Problem
    identity: Identity
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """What the search of one plan found; ``fits`` are kept until its scores are written."""

    folder: Path
    problem: Problem
    outcome: SearchOutcome
    fits: FitStore
    result: Result


def evaluate(settings: Settings, plans: Sequence[Plan], folder: Path, config: Mapping[str, Any]) -> None:
    """Evaluate each plan, one but for a task that HEAR published in parts, and record the result in ``folder``.

    A run whose result is there already is shown, and not computed again. ``config`` is what ``settings`` were read
    from; it is recorded with the result.
    """
    source = load_source(settings)
    begin(folder)
    task = task_id([plan.task for plan in plans], settings.task.name)
    doubts = [data_doubts(plan.task) for plan in plans]
    embedded = [source.embed(plan.task) for plan in plans]
    if settings.stage == "embed":
        _record_embedded(plans, embedded, source, task, folder)
        return
    with ExitStack() as problems:  # open to the end: what is written after the scores needs their targets
        trials = [
            make_trial(settings, plan, have, told, source, problems)
            for plan, have, told in zip(plans, embedded, doubts, strict=True)
        ]
        identity = joined(trial.identity.digest for trial in trials)
        run = RunId(identity, source.name, task.name, settings.predictor.name)
        index = Index(settings.paths.finished)
        with index.computing(run):
            found = None if settings.rerun else index.find(run)
            if found is None:
                search_and_record(settings, trials, source, task, folder, config)
                with only_warn("the run was not noted as finished", "the same command would compute it again"):
                    index.add(run, folder)
            else:
                _show_found(found, folder)


def make_trial(
    settings: Settings,
    plan: Plan,
    embedded: Embedded,
    doubts: tuple[str, ...],
    source: Source,
    problems: ExitStack,
) -> Trial:
    """A plan's search, ready to start. ``problems`` closes its problem."""
    problem = problems.enter_context(
        make_problem(settings, plan.task, embedded.embeddings, plan.protocol, source.device, plan.folder)
    )
    return Trial(plan, embedded, problem, run_identity(problem, plan.points), (*doubts, *embedded.doubts))


def search_and_record(
    settings: Settings,
    trials: Sequence[Trial],
    source: Source,
    task: TaskId,
    folder: Path,
    config: Mapping[str, Any],
) -> None:
    """Search each trial's grid, join what was found, and record it: scores first."""
    if settings.search.workers != 1:  # a single one is this process itself
        warm_up()
    record = make_tracker(
        settings.logger, run_folder=folder, config=config, name=folder.name, model=source.name, task=task
    )
    with record as tracker:
        parts = []
        for i, trial in enumerate(trials):
            name = trial.plan.task.name
            on_fit = tracker.fit_done if len(trials) == 1 else fit_of_part(i, name, tracker.fit_done)
            parts.append(search_trial(settings, trial, source, on_fit))
        result = join_results(task.name, [part.result for part in parts], settings.task.leaderboard)
        _keep_scores(result, folder)
        pictures = [picture for part in parts for picture in _write_beside_scores(part)]
        tracker.finish(result, pictures, folder)
    with only_warn("the result was not shown"):
        show_result(result, folder, console)


def search_trial(settings: Settings, trial: Trial, source: Source, on_fit: OnFit) -> Evaluation:
    """Search a predictor on the trial's embeddings, and test it."""
    plan, problem = trial.plan, trial.problem
    fits = open_fits(settings, trial.identity)
    with progress(f"{plan.task.name} x {source.name}", "fits") as bar:
        outcome = search(problem, plan.points, settings.search.workers, on_fit, bar, fits)
    result = make_result(
        problem,
        outcome,
        model=source.name,
        predictor=settings.predictor.name,
        protocol_changes=plan.protocol_changes,
        embed_seconds=trial.embedded.seconds,
        doubts=trial.doubts,
        identity=trial.identity.digest,
        model_options=source.options,
        published_points=published_points(plan.task),
    )
    return Evaluation(plan.folder, problem, outcome, fits, result)


def _record_embedded(
    plans: Sequence[Plan], embedded: Sequence[Embedded], source: Source, task: TaskId, folder: Path
) -> None:
    """What stage=embed leaves: no scores."""
    computed, seconds = sum(part.computed_clips for part in embedded), sum(part.seconds for part in embedded)
    clips = sum(len(split.clips) for plan in plans for split in plan.task.splits)
    write_embedded(
        folder,
        task=task.name,
        model=source.name,
        clips=clips,
        computed_clips=computed,
        seconds=seconds,
        embedding_key=joined(part.embeddings.key for part in embedded),
    )
    log.info("%s embedded by %s: %d clips, %d of them now, %.0f s", task.name, source.name, clips, computed, seconds)


def _show_found(found: Finished, folder: Path) -> None:
    if found.folder.resolve() != Path(folder).resolve():
        write_found(folder, found)
    with only_warn("the result was not shown"):
        show_result(found.result, found.folder, console)
    log.info("this run was there already (finished %s); rerun=true computes it anew", found.result.finished)


def _keep_scores(result: Result, folder: Path) -> None:
    try:
        write_result(folder, result)
    except OSError:
        show_result(result, folder, console)  # a full disk: the screen at least has the scores
        raise


def _write_beside_scores(part: Evaluation) -> list[Path]:
    """What stands beside the scores; a failure is a warning. Returns the pictures."""
    with only_warn("the finished fits, which nobody needs any more, were not removed"):
        part.fits.discard()
    write_beside(part.folder, part.problem, part.outcome)
    return draw_pictures(part.folder, part.problem, part.outcome, part.result)
