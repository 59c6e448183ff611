"""A run's own table: what was run, its scores, the winner, the time it took, where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..results.result import Result
from ..safe_text import one_line
from .figures import arrow, changes, number, settings

FILES = ("result.json", "plots", "predictions", "predictor.pt", "parts")


def show_result(result: Result, folder: Path, console: Console) -> None:
    """Print a finished run; names and sentences without what a terminal would take for commands."""
    folder = Path(folder)
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title_justify="left", pad_edge=False)
    table.title = Text(one_line(f"{result.model} on {result.task}"), style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    splits = f"{len(result.folds)} folds" if len(result.folds) > 1 else "train, valid, test"
    task = " ".join(part for part in (result.task, result.task_version, result.task_mode) if part)
    table.add_row("model", Text(one_line(f"{result.model} (embeddings of {result.embedding_dim})")))
    table.add_row("task", Text(one_line(f"{task} ({result.clips} clips; {splits})")))
    changed = f" with {changes(result.protocol_changes)}" if result.protocol_changes else ""
    table.add_row("protocol", Text(one_line(f"{result.protocol}{changed}; predictor {result.predictor}")))
    table.add_section()
    _add_scores(table, result)
    table.add_section()
    for doubt in result.doubts:
        table.add_row(Text("doubt", style="yellow"), Text(one_line(doubt), style="yellow"))
    table.add_row("winner", _winner(result))
    table.add_row("seconds", Text(", ".join(f"{what} {value:.1f}" for what, value in result.seconds.items())))
    console.print()
    console.print(table)
    names = [name for name in FILES if (folder / name).exists()]
    # Not in the table, which would break a long path into pieces that cannot be copied.
    where = (one_line(str(folder)), "cyan")
    console.print(Text.assemble((" files", "dim"), f"  {', '.join(names)} in ", where), soft_wrap=True)


def _add_scores(table: Table, result: Result) -> None:
    for name in scores_shown(result):
        if not _ending(name, result.scores, ("_precision", "_recall")):
            primary = name == result.primary_metric
            text = Text(_with_spread(result.scores[name], result.scores.get(f"{name}_std")))
            text.stylize("bold green" if primary else "")
            shown = Text(one_line(name) + arrow(name), style="bold" if primary else "dim")
            table.add_row(shown, text + _parts(result, name) + _why(result, name))
    if result.leaderboard:
        table.add_row("leaderboard", _standing(result.leaderboard))
    first = " on the first fold" if len(result.folds) > 1 else ""
    validation = "validation" if result.monitor == "score" else "validation loss"
    table.add_row(validation, Text(f"{number(result.monitored)} ({_epochs(result)}){first}"))


def scores_shown(result: Result) -> list[str]:
    """Names of a result's scores, the primary one first, without the _mean and _std that go with them.

    What the finite labels give (NAME_finite) is among them only where it is another figure.
    """
    scores = result.scores
    names = [
        name
        for name in scores
        if not _ending(name, scores, ("_mean", "_std"))
        and not (_ending(name, scores, ("_finite",)) and scores[name] == scores[name.removesuffix("_finite")])
    ]
    return sorted(names, key=lambda name: name != result.primary_metric)


def _ending(name: str, scores: Mapping[str, float | None], endings: tuple[str, ...]) -> bool:
    """Whether ``name`` is another score's name with one of the endings."""
    return any(name.endswith(ending) and name.removesuffix(ending) in scores for ending in endings)


def _parts(result: Result, name: str) -> Text:
    """An F-measure's precision and recall."""
    parts = {part: f"{name}_{part}" for part in ("precision", "recall")}
    known = [f"{part} {number(result.scores[key])}" for part, key in parts.items() if key in result.scores]
    return Text(f"  ({', '.join(known)})" if known else "", style="dim")


def _why(result: Result, name: str) -> Text:
    """Why a score, or its deviation, is undefined."""
    why = result.undefined.get(name) or result.undefined.get(f"{name}_std")
    return Text(f"  ({one_line(why)})" if why else "", style="dim")


def _standing(place: Mapping[str, Any]) -> Text:
    """'rank 12 of 30 (below X 0.7100, above Y 0.6900)': a score among the published ones; pale if not comparable."""
    near = [
        f"{word} {place[f'{side}_model']} {number(place[f'{side}_score'])}"
        for word, side in (("below", "better"), ("above", "worse"))
        if place[f"{side}_model"]
    ]
    if place["tied"]:
        near.append(f"equal to {', '.join(place['tied'])}")
    standing = f"rank {place['rank']} of {place['of']} published scores and this one ({', '.join(near)})"
    if place.get("comparable", True):
        return Text(standing)
    return Text(one_line(f"not comparable ({place['why_not']}): {standing}"), style="dim")


def _winner(result: Result) -> Text:
    """The winner's settings, those that were searched first."""
    searched = {
        name: value
        for name, value in result.hyperparameters.items()
        if len({str(point.hyperparameters.get(name)) for point in result.grid}) > 1
    }
    fixed = {name: value for name, value in result.hyperparameters.items() if name not in searched}
    if not searched:
        return Text(one_line(settings(fixed)))
    best = one_line(f"{settings(searched)} (best of {len(result.grid)})")
    return Text.assemble(best, (f"\n{one_line(settings(fixed))}" if fixed else "", "dim"))


def _epochs(result: Result) -> str:
    fold = result.folds[0]
    return f"epoch {fold.epoch + 1} of {fold.epochs_run}" if fold.epochs_run else "no training"


def _with_spread(value: float | None, spread: float | None) -> str:
    return number(value) + (f" ± {number(spread)}" if spread is not None else "")
