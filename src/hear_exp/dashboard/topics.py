"""What the dashboard shows: topics of panels on what runs log, the same for the workspace and for the report.

Nothing here depends on a config key with a dot in its name: wandb's filters do not find those, and its parallel plots
take the part before the dot for a key of its own. Runs are told apart by tags, and averaged by ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr

from ..cli.composition import composed_file
from ..cli.configs import names_in
from ..results.wandb_curves import CHART

EVALUATION = "evaluation"  # runs that share it differ in seed at most
MOST_RUNS, MOST_BARS = 1000, 200
_OF_A_PREDICTOR = {"name", "_target_", "defaults"}  # in its config, and no settings


@dataclass(frozen=True)
class Topic:
    """Panels that belong together: ``columns`` of them side by side; ``text`` says what they show, and its limits."""

    title: str
    text: str
    panels: tuple[Any, ...]
    columns: int
    rows: int = 1
    is_open: bool = True


def topics(settings: Sequence[str] = ()) -> list[Topic]:
    """All topics, in order; ``settings`` are names of a predictor of one's own. Each call makes new panels."""
    makers: tuple[Callable[[], Topic], ...] = (_scores, _ranks, lambda: _settings(settings), _curves, _pictures)
    return [make() for make in (*makers, _tables, _costs)]


def _scores() -> Topic:
    text = (
        "The primary test score. A bar is one evaluation (model, task, predictor, protocol): the mean over its runs, "
        "which differ in seed alone, with their standard deviation. Scores of different tasks have different metrics "
        "(column primary_metric). An evaluation that was searched or computed otherwise has another code in brackets."
    )
    panels = (
        _bars("test score, mean and deviation over seeds", "score"),
        _bars("deviation of the score over folds", "score_std"),
        wr.ScatterPlot(title="validation score (x) and test score (y)", x="validation_score", y="score"),
    )
    return Topic("Scores by task and model", text, panels, columns=3)


def _ranks() -> Topic:
    text = (
        "Where a score stands among the published HEAR scores of its task, itself included: 1 is best. Only of runs "
        "that were evaluated as the published ones were; of the others leaderboard/why_not says what differs."
    )
    panels = (
        _bars("rank among the published scores (1 is best)", "leaderboard/rank"),
        _bars("scores that were ranked, this one included", "leaderboard/of"),
    )
    return Topic("Leaderboard rank", text, panels, columns=2)


def _settings(own: Sequence[str]) -> Topic:
    text = (
        "A line is a run: the settings predictor.* that its search chose, or that it was given, then validation and "
        "test score. A plot has the runs of its predictor, which have all of its settings."
    )
    shipped = {name: _settings_of(composed_file("predictor", name)) for name in names_in("predictor")}
    own_plot = {"your own": dict.fromkeys(own, False)} if own else {}
    plots = [_parallel(name, axes) for name, axes in {**own_plot, **shipped}.items()]
    importance = wr.ParameterImportancePlot(with_respect_to="score")
    return Topic("Settings of predictors", text, (*plots, importance), columns=2, rows=2)


def _curves() -> Topic:
    text = (
        "The winner's learning curve on the first fold, a line a run; and how far each search has come. "
        "Choose few runs: thousands of lines say nothing."
    )
    panels = (
        _lines("validation score of the winner", "curve/epoch", "curve/validation_score"),
        _lines(
            "loss of the winner, training and validation", "curve/epoch", "curve/train_loss", "curve/validation_loss"
        ),
        _lines("validation score of each fit, as fits end", "search/fit", "search/validation_score"),
        _lines("epochs of each fit", "search/fit", "search/epochs_run"),
        _every_fit(),
    )
    return Topic("Learning curves", text, panels, columns=2, rows=3)


def _every_fit() -> Any:
    """The chart that a run itself logs of all its fits; of several runs all lines are in it."""
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"Custom Chart Tables/{CHART}_table"}},  # where wandb puts a chart's table
        chart_name="wandb/lineseries/v0",
        chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
        chart_strings={"title": "validation of every fit (fold tested on, grid point)", "xname": "epoch"},
    )


def _pictures() -> Topic:
    text = "What runs predict right and wrong, side by side: hide runs by their eyes, or filter, to compare a few."
    names = {
        "confusion": "confusion matrices (multiclass scenes)",
        "events": "reference and predicted events (event tasks)",
        "average_precision": "average precision of each label (multilabel scenes)",
        "learning_curve": "learning curves of the whole grid",
        "grid": "scores of the grid's points",
    }
    panels = [
        wr.MediaBrowser(title=title, media_keys=[f"plots/{name}"], num_columns=3, mode="gallery", gallery_axis="run")
        for name, title in names.items()
    ]
    return Topic("Predictions side by side", text, tuple(panels), columns=2, rows=3)


def _tables() -> Topic:
    text = "Every grid point's validation (the winner is marked), and every fold's test."
    panels = tuple(wr.WeavePanelSummaryTable(table_name=name) for name in ("grid", "folds"))
    return Topic("Grid and folds", text, panels, columns=2, is_open=False)


def _costs() -> Topic:
    text = "What runs took, and how many doubts they have about their own scores: result.json says which."
    panels = (
        _bars("seconds to embed, to search and to test", "seconds/embed", "seconds/search", "seconds/test"),
        _bars("doubts", "doubts"),
    )
    return Topic("Seconds and doubts", text, panels, columns=2, is_open=False)


def _bars(title: str, *metrics: str) -> Any:
    """A bar for each evaluation: the mean over its runs, and their standard deviation."""
    return wr.BarPlot(
        title=title,
        metrics=list(metrics),
        groupby=wr.Config(EVALUATION),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=MOST_RUNS,
        max_bars_to_show=MOST_BARS,
    )


def _lines(title: str, x: str, *y: str) -> Any:
    # Curves are as they are logged: smoothing would show scores that no epoch had.
    return wr.LinePlot(title=title, x=x, y=list(y), smoothing_type="none", max_runs_to_show=MOST_RUNS)


def _parallel(predictor: str, axes: Mapping[str, bool]) -> Any:
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=f"winner/{name}", display_name=f"predictor.{name}", log=log or None)
        for name, log in axes.items()
    ]
    scores = [wr.ParallelCoordinatesPlotColumn(metric=name) for name in ("validation_score", "score")]
    return wr.ParallelCoordinatesPlot(title=f"predictor.* of {predictor}", columns=[*columns, *scores])


def _settings_of(config: Mapping[str, Any]) -> dict[str, bool]:
    """A predictor's settings, those first that are searched; whether each one's axis is logarithmic."""
    settings = {name: value for name, value in config.items() if name not in _OF_A_PREDICTOR}
    searched = sorted(settings, key=lambda name: not isinstance(settings[name], list))
    return {name: _spans_a_decade(settings[name]) for name in searched}


def _spans_a_decade(values: Any) -> bool:
    numbers = isinstance(values, list) and all(isinstance(value, int | float) and value > 0 for value in values)
    return bool(numbers and max(values) >= 10 * min(values))
