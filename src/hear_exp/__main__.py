"""``python -m hear_exp model=MODEL task=TASK``: from a task's audio to a score, in one command."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from .interrupts import answer_signals

    answer_signals()

from pathlib import Path
from typing import Any

from .choices import Choices
from .cli import start
from .run_record import begin


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Embed a task with a model, search a predictor on the embeddings, test it, record the result.

    ``folder`` receives what the run leaves behind, result.json last. Raises UserError for a user's mistake.
    """
    # Imported here: --help and typing mistakes need none of them, nor does a mistake need what follows the plans.
    from .plans import make_plans

    plans = make_plans(config, folder, choices)  # one, but for a task that HEAR published in parts
    from . import settings
    from .beside import write_curves, write_predictions, write_predictor
    from .doubts import data_doubts
    from .gather import make_result
    from .parts import fit_of_part, join_results
    from .pictures import draw_pictures
    from .progress import console, progress
    from .report import show_result
    from .result import write_result
    from .search import search
    from .tracking import make_tracker

    source = settings.load_source(config)
    begin(folder)
    name = plans[0].task.name if len(plans) == 1 else config["task"]["name"]
    names = {"model": source.name, "task": name}
    with make_tracker(config["logger"], run_folder=folder, config=config, name=folder.name, **names) as tracker:
        results, pictures, stores = [], [], []
        for i, (task, protocol, changes, points, where) in enumerate(plans):
            doubts = data_doubts(task)
            embedded = source.embed(task)
            with (
                settings.make_problem(config, task, embedded.embeddings, protocol, source.device, where) as problem,
                progress(f"{task.name} x {source.name}", "fits") as bar,
            ):
                on_fit = tracker.fit_done if len(plans) == 1 else fit_of_part(i, task.name, tracker.fit_done)
                stores.append(settings.open_fits(config, problem, points))
                outcome = search(problem, points, config["search"]["workers"], on_fit, bar, stores[-1])
                write_predictions(where, problem, outcome)
                write_curves(where, outcome)
                write_predictor(where, outcome)
                result = make_result(
                    problem,
                    outcome,
                    model=source.name,
                    predictor=config["predictor"]["name"],
                    protocol_changes=changes,
                    embed_seconds=embedded.seconds,
                    doubts=(*doubts, *embedded.doubts),
                    identity=stores[-1].identity.digest,
                )
                pictures += draw_pictures(where, problem, outcome, result)
            results.append(result)
        result = join_results(name, results, config["task"].get("leaderboard"))
        write_result(folder, result)  # before the tracker: a network that fails now must not lose the scores
        for store in stores:
            store.discard()
        tracker.finish(result, pictures, folder)
    show_result(result, folder, console)


if __name__ == "__main__":
    start(run)
