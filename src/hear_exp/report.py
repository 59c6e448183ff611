"""Results for people: a run's own table, and all runs of a root side by side.

    python -m hear_exp.report [ROOT]

compares every run under ROOT/runs (ROOT: paths.root of the runs, by default the current folder) and writes
ROOT/report/results.csv and scores.png.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from .interrupts import answer_signals

    answer_signals("what is written already stays")

import argparse
import csv
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .errors import UserError
from .figures import BLUE, GREY, new_figure, number, save, settings, tidy
from .result import Result, read_result
from .scores import SCORES

PANEL_COLUMNS = 3
WIDTH_WITH_FOLDERS = 130
CSV_FIELDS = (
    *("task", "task_version", "model", "predictor", "protocol", "protocol_changes", "primary_metric"),
    *("higher_is_better", "score", "std", "validation_score", "hyperparameters", "seed", "date", "folder"),
)


# A run's own table ------------------------------------------------------------------------------------------


def show_result(result: Result, folder: Path, console: Console) -> None:
    """Print a finished run: what was run, its scores, the winner, the time it took, where its files are."""
    folder = Path(folder)
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title_justify="left", pad_edge=False)
    table.title = Text(f"{result.model} on {result.task}", style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    splits = f"{len(result.folds)} folds" if len(result.folds) > 1 else "train, valid, test"
    version = f" {result.task_version}" if result.task_version else ""
    table.add_row("model", Text(f"{result.model} (embeddings of {result.embedding_dim})"))
    table.add_row("task", Text(f"{result.task}{version} ({result.clips} clips; {splits})"))
    changes = f" with {_changes(result)}" if result.protocol_changes else ""
    table.add_row("protocol", Text(f"{result.protocol}{changes}; predictor {result.predictor}"))
    table.add_section()
    for name in scores_shown(result):
        if not _ending(name, result.scores, ("_precision", "_recall")):
            primary = name == result.primary_metric
            text = Text(_with_spread(result.scores[name], result.scores.get(f"{name}_std")))
            text.stylize("bold green" if primary else "")
            table.add_row(Text(name + _arrow(name), style="bold" if primary else "dim"), text + _parts(result, name))
    first = " on the first fold" if len(result.folds) > 1 else ""
    validation = "validation" if result.monitor == "score" else "validation loss"
    if result.leaderboard:
        table.add_row("leaderboard", Text(_standing(result.leaderboard)))
    table.add_row(validation, Text(f"{number(result.validation_score)} ({_epochs(result)}){first}"))
    table.add_section()
    table.add_row("winner", _winner(result))
    table.add_row("seconds", Text(", ".join(f"{what} {value:.1f}" for what, value in result.seconds.items())))
    console.print()
    console.print(table)
    names = [name for name in ("result.json", "plots", "predictions", "predictor.pt") if (folder / name).exists()]
    # Not in the table, which would break a long path into pieces that cannot be copied.
    console.print(Text.assemble((" files", "dim"), f"  {', '.join(names)} in ", (str(folder), "cyan")), soft_wrap=True)


def scores_shown(result: Result) -> list[str]:
    """Names of a result's scores, the primary one first, without the _mean and _std that go with them."""
    names = [name for name in result.scores if not _ending(name, result.scores, ("_mean", "_std"))]
    return sorted(names, key=lambda name: name != result.primary_metric)


def _ending(name: str, scores: Mapping[str, float | None], endings: tuple[str, ...]) -> bool:
    """Whether ``name`` is another score's name with one of the endings."""
    return any(name.endswith(ending) and name.removesuffix(ending) in scores for ending in endings)


def _parts(result: Result, name: str) -> Text:
    """An F-measure's precision and recall."""
    parts = {part: f"{name}_{part}" for part in ("precision", "recall")}
    known = [f"{part} {number(result.scores[key])}" for part, key in parts.items() if key in result.scores]
    return Text(f"  ({', '.join(known)})" if known else "", style="dim")


def _standing(place: Mapping[str, Any]) -> str:
    """'rank 12 of 30 (below X 0.7100, above Y 0.6900)': a score among the published ones."""
    near = [
        f"{word} {place[f'{side}_model']} {number(place[f'{side}_score'])}"
        for word, side in (("below", "better"), ("above", "worse"))
        if place[f"{side}_model"]
    ]
    if place["tied"]:
        near.append(f"equal to {', '.join(place['tied'])}")
    return f"rank {place['rank']} of {place['of']} published scores and this one ({', '.join(near)})"


def _winner(result: Result) -> Text:
    """The winner's settings, those that were searched first."""
    searched = {
        name: value
        for name, value in result.hyperparameters.items()
        if len({str(point.hyperparameters.get(name)) for point in result.grid}) > 1
    }
    fixed = {name: value for name, value in result.hyperparameters.items() if name not in searched}
    if not searched:
        return Text(settings(fixed))
    best = f"{settings(searched)} (best of {len(result.grid)})"
    return Text.assemble(best, (f"\n{settings(fixed)}" if fixed else "", "dim"))


def _epochs(result: Result) -> str:
    fold = result.folds[0]
    return f"epoch {fold.epoch} of {fold.epochs_run}" if fold.epochs_run else "no training"


def _changes(result: Result) -> str:
    return ", ".join(f"{name}={value}" for name, value in result.protocol_changes.items())


def _with_spread(value: float | None, spread: float | None) -> str:
    return number(value) + (f" ± {number(spread)}" if spread is not None else "")


def _arrow(name: str) -> str:
    return " ↓" if name in SCORES and not SCORES[name].higher_is_better else ""


# All runs side by side --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run; ``date`` is the local time it ended at."""

    result: Result
    folder: Path
    date: datetime.datetime

    @property
    def label(self) -> str:
        """What is compared: model, predictor and protocol."""
        return f"{self.result.model}, {self.result.predictor}, {self.protocol}"

    @property
    def protocol(self) -> str:
        """The protocol's name, with a star where fields of it were changed."""
        return self.result.protocol + ("*" if self.result.protocol_changes else "")


def find_runs(root: Path) -> tuple[list[Run], list[str]]:
    """The finished runs under ROOT/runs, and a sentence for each result that cannot be read."""
    runs, unreadable = [], []
    for path in sorted((Path(root) / "runs").rglob("result.json")):
        try:
            result = read_result(path)
            date = datetime.datetime.fromisoformat(result.finished).replace(tzinfo=None)
            runs.append(Run(result, path.parent, date))
        except (UserError, OSError) as error:
            unreadable.append(str(error))
    return runs, unreadable


def by_task(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Runs of each task and primary score, by name; within each the best first, undefined scores last."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.result.task, run.result.primary_metric, _rank(run))):
        groups.setdefault((run.result.task, run.result.primary_metric), []).append(run)
    return groups


def _rank(run: Run) -> tuple[bool, float, datetime.datetime]:
    score = run.result.score
    if score is None:
        return True, 0.0, run.date
    return False, -score if run.result.higher_is_better else score, run.date


def is_best(run: Run, group: Sequence[Run]) -> bool:
    """Whether no run of its group has a better score."""
    return run.result.score is not None and run.result.score == group[0].result.score


def runs_table(runs: Sequence[Run], root: Path, width: int) -> Table:
    """A table of all runs, task by task; the best of each task has a star. Folders where there is room."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("task, model", "predictor", "protocol", "  score", "date"):
        table.add_column(column, overflow="fold", no_wrap=column == "date")
    with_folder = width >= WIDTH_WITH_FOLDERS
    if with_folder:
        table.add_column("folder", overflow="fold", style="dim")
    for (task, metric), group in by_task(runs).items():
        table.add_row(Text(task, style="bold"), "", "", Text(f"  {metric}{_arrow(metric)}", style="dim"))
        for run in group:
            best = is_best(run, group)
            score = f"{'★' if best else ' '} {_with_spread(run.result.score, run.result.spread)}"
            cells: list[Text | str] = [
                Text(f"  {run.result.model}"),
                Text(run.result.predictor),
                Text(run.protocol),
                Text(score, style="bold green" if best else ""),
                f"{run.date:%Y-%m-%d %H:%M}",
                Text(str(run.folder.relative_to(root))),
            ]
            table.add_row(*(cells if with_folder else cells[:-1]))
        table.add_section()
    return table


def write_csv(runs: Sequence[Run], path: Path) -> Path:
    """One row a run; after the fixed columns one for each score that any run has."""
    ordered = [run for group in by_task(runs).values() for run in group]
    names = sorted({name for run in ordered for name in scores_shown(run.result)})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*CSV_FIELDS, *names])
        writer.writeheader()
        for run in ordered:
            result = run.result
            row = {name: getattr(result, name) for name in CSV_FIELDS if hasattr(result, name)}
            row |= {name: json.dumps(dict(row[name])) for name in ("protocol_changes", "hyperparameters")}
            row |= {"std": result.spread, "date": f"{run.date:%Y-%m-%dT%H:%M:%S}", "folder": run.folder}
            writer.writerow({**row, **{name: result.scores[name] for name in scores_shown(result)}})
    return path


def draw_scores(runs: Sequence[Run], path: Path) -> Path:
    """A panel for each task: a dot for each run, best first, bars of one standard deviation over folds."""
    groups = by_task(runs)
    labels = {key: list(dict.fromkeys(run.label for run in group)) for key, group in groups.items()}
    columns = min(PANEL_COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    keys = list(groups)
    heights = [
        0.9 + 0.24 * max(len(labels[key]) for key in keys[row * columns : (row + 1) * columns]) for row in range(rows)
    ]
    figure = new_figure(max(6, 4.6 * columns), 0.6 + sum(heights), "test scores by task and model")
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat
    for key, axes in zip(keys, panels, strict=False):
        for run in groups[key]:
            y, best = labels[key].index(run.label), is_best(run, groups[key])
            if run.result.score is None:
                axes.text(
                    0.01,
                    y,
                    "undefined",
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    color=GREY,
                    fontsize=8,
                )
                continue
            look = {"color": BLUE, "zorder": 3} if best else {"color": GREY, "zorder": 2}
            axes.errorbar(run.result.score, y, xerr=run.result.spread, fmt="o", markersize=6, elinewidth=1.2, **look)
        axes.set_yticks(range(len(labels[key])), labels[key], parse_math=False)
        axes.set_ylim(len(labels[key]) - 0.4, -0.6)
        axes.margins(x=0.1)
        axes.set_xlabel(key[1] + _arrow(key[1]))
        tidy(axes, key[0], "both")
    for axes in list(panels):
        axes.remove()
    return save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all runs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hear_exp.report", description="Compare all runs.")
    parser.add_argument("root", nargs="?", default=".", help="paths.root of the runs (default: this folder)")
    root = Path(parser.parse_args(arguments).root.removeprefix("paths.root=")).expanduser()
    # Without a terminal there is no width to keep to: each run stays on one line, for grep.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    runs, unreadable = find_runs(root)
    for sentence in unreadable:
        console.print(Text(f"skipped: {sentence}", style="yellow"))
    if not runs:
        console.print(
            Text(
                f"no finished runs under {root / 'runs'}: `python -m hear_exp` makes one, "
                "`python -m hear_exp.report ROOT` looks elsewhere"
            )
        )
        return 1
    console.print()
    console.print(runs_table(runs, root, console.width))
    if any(run.result.protocol_changes for run in runs):
        console.print("* fields of the protocol were changed; see protocol_changes in results.csv")
    folder = root / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (write_csv(runs, folder / "results.csv"), draw_scores(runs, folder / "scores.png")):
        console.print(Text(f"wrote {path}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
