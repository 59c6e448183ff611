"""The pipeline on one screen: each plan's task is embedded, searched and scored; then all is recorded, scores first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cli.run_record import begin
from .lenient import only_warn
from .prediction.fit_store import FitStore
from .prediction.problem import Problem
from .prediction.search import OnFit, SearchOutcome, search
from .progress import console, progress
from .report.pictures import draw_pictures
from .report.run_table import show_result
from .results.beside import write_beside
from .results.gather import make_result
from .results.parts import fit_of_part, join_results
from .results.result import Result, write_result
from .results.task_id import task_id
from .results.tracking import make_tracker
from .settings.config import Settings
from .settings.objects import Source, load_source, make_problem, open_fits
from .settings.plans import Plan, published_points
from .tasks.doubts import data_doubts


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation of one plan found; ``fits`` are kept until its scores are written."""

    folder: Path
    problem: Problem
    outcome: SearchOutcome
    fits: FitStore
    result: Result


def evaluate(settings: Settings, plans: Sequence[Plan], folder: Path, config: Mapping[str, Any]) -> None:
    """Evaluate each plan, one but for a task that HEAR published in parts, and record the result in ``folder``.

    ``config`` is what ``settings`` were read from; it is recorded with the result.
    """
    source = load_source(settings)
    begin(folder)
    task = task_id([plan.task for plan in plans], settings.task.name)
    record = make_tracker(
        settings.logger, run_folder=folder, config=config, name=folder.name, model=source.name, task=task
    )
    # The problems stay open to the end: what is written after the scores needs their targets.
    with record as tracker, ExitStack() as problems:
        parts = []
        for i, plan in enumerate(plans):
            on_fit = tracker.fit_done if len(plans) == 1 else fit_of_part(i, plan.task.name, tracker.fit_done)
            parts.append(evaluate_plan(settings, plan, source, on_fit, problems))
        result = join_results(task.name, [part.result for part in parts], settings.task.leaderboard)
        _keep_scores(result, folder)
        pictures = [picture for part in parts for picture in _write_beside_scores(part)]
        tracker.finish(result, pictures, folder)
    with only_warn("the result was not shown"):
        show_result(result, folder, console)


def evaluate_plan(settings: Settings, plan: Plan, source: Source, on_fit: OnFit, problems: ExitStack) -> Evaluation:
    """Embed the plan's task, search a predictor on the embeddings, test it. ``problems`` closes the problem."""
    doubts = data_doubts(plan.task)
    embedded = source.embed(plan.task)
    problem = problems.enter_context(
        make_problem(settings, plan.task, embedded.embeddings, plan.protocol, source.device, plan.folder)
    )
    fits = open_fits(settings, problem, plan.points)
    with progress(f"{plan.task.name} x {source.name}", "fits") as bar:
        outcome = search(problem, plan.points, settings.search.workers, on_fit, bar, fits)
    result = make_result(
        problem,
        outcome,
        model=source.name,
        predictor=settings.predictor.name,
        protocol_changes=plan.protocol_changes,
        embed_seconds=embedded.seconds,
        doubts=(*doubts, *embedded.doubts),
        identity=fits.identity.digest,
        model_options=source.options,
        published_points=published_points(plan.task),
    )
    return Evaluation(plan.folder, problem, outcome, fits, result)


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
