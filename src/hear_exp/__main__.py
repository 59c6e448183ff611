"""``python -m hear_exp model=MODEL task=TASK``: from a task's audio to a score, in one command."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from .interrupts import answer_signals

    answer_signals()

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .cli.choices import Choices
from .cli.edge import start
from .cli.run_record import begin


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Embed a task with a model, search a predictor on the embeddings, test it, record the result.

    ``folder`` receives what the run leaves behind, result.json first: whatever fails after it is a warning.
    Raises UserError for a user's mistake.
    """
    # Imported here: --help and typing mistakes need none of them, nor does a mistake need what follows the plans.
    from .settings.plans import make_plans, published_points

    plans = make_plans(config, folder, choices)  # one, but for a task that HEAR published in parts
    from .embeddings.model_choice import model_options
    from .lenient import only_warn
    from .prediction.search import search
    from .progress import console, progress
    from .report.pictures import draw_pictures
    from .report.run_table import show_result
    from .results.beside import write_beside
    from .results.gather import make_result
    from .results.parts import fit_of_part, join_results
    from .results.result import write_result
    from .results.task_id import task_id
    from .results.tracking import make_tracker
    from .settings import objects as settings
    from .tasks.doubts import data_doubts

    source = settings.load_source(config)
    begin(folder)
    task = task_id([plan.task for plan in plans], config["task"]["name"])
    record = make_tracker(
        config["logger"], run_folder=folder, config=config, name=folder.name, model=source.name, task=task
    )
    # The problems stay open to the end: what is written after the scores needs their targets.
    with record as tracker, ExitStack() as problems:
        found = []
        for i, plan in enumerate(plans):
            doubts = data_doubts(plan.task)
            embedded = source.embed(plan.task)
            problem = problems.enter_context(
                settings.make_problem(config, plan.task, embedded.embeddings, plan.protocol, source.device, plan.folder)
            )
            on_fit = tracker.fit_done if len(plans) == 1 else fit_of_part(i, plan.task.name, tracker.fit_done)
            fits = settings.open_fits(config, problem, plan.points)
            with progress(f"{plan.task.name} x {source.name}", "fits") as bar:
                outcome = search(problem, plan.points, config["search"]["workers"], on_fit, bar, fits)
            result = make_result(
                problem,
                outcome,
                model=source.name,
                predictor=config["predictor"]["name"],
                protocol_changes=plan.protocol_changes,
                embed_seconds=embedded.seconds,
                doubts=(*doubts, *embedded.doubts),
                identity=fits.identity.digest,
                model_options=model_options(config),
                published_points=published_points(plan.task),
            )
            found.append((plan.folder, problem, outcome, fits, result))
        result = join_results(task.name, [part[-1] for part in found], config["task"].get("leaderboard"))
        try:
            write_result(folder, result)
        except OSError:
            show_result(result, folder, console)  # a full disk: the screen at least has the scores
            raise
        pictures = []
        for where, problem, outcome, fits, part in found:
            with only_warn("the finished fits, which nobody needs any more, were not removed"):
                fits.discard()
            write_beside(where, problem, outcome)
            pictures += draw_pictures(where, problem, outcome, part)
        tracker.finish(result, pictures, folder)
    with only_warn("the result was not shown"):
        show_result(result, folder, console)


if __name__ == "__main__":
    start(run)
