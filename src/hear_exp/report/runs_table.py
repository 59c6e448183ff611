"""All runs side by side, for the terminal and for a spreadsheet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ..files import replacing
from ..results.task_id import task_labels
from ..safe_text import cell, one_line
from .figures import arrow, number
from .row_labels import model_labels, protocol_labels
from .runs import Comparison, Row, Run

WIDTH_WITH_FOLDERS = 130
CSV_FIELDS = (
    *("task", "task_version", "task_mode", "task_digest", "model", "model_options", "predictor", "protocol"),
    *("protocol_changes", "primary_metric", "higher_is_better", "score", "std", "monitor", "validation_score"),
    *("validation_loss", "hyperparameters", "seed", "row", "counts", "why_not", "row_score", "row_seed_std"),
    *("row_seeds", "row_settings", "doubts", "undefined", "embedding_key", "identity", "date", "folder"),
)


def runs_table(comparisons: Sequence[Comparison], root: Path, width: int) -> Table:
    """A table of all rows, task by task; the best of each task has a star. Folders where there is room.

    Of several runs of a row the folder of the last is shown; results.csv has all.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("task, model", "predictor", "protocol", "  score", "date"):
        table.add_column(column, overflow="fold", no_wrap=column == "date")
    with_folder = width >= WIDTH_WITH_FOLDERS
    if with_folder:
        table.add_column("folder", overflow="fold", style="dim")
    names = task_labels([comparison.task for comparison in comparisons])
    for comparison in comparisons:
        metric = f"  {one_line(comparison.metric)}{arrow(comparison.metric)}"
        table.add_row(Text(one_line(names[comparison.task]), style="bold"), "", "", Text(metric, style="dim"))
        models, protocols = model_labels(comparison.rows), protocol_labels(comparison.rows)
        for row, model, protocol in zip(comparison.rows, models, protocols, strict=True):
            newest = max(row.runs, key=lambda run: run.date)
            cells: list[Text | str] = [
                Text(f"  {model}"),
                Text(one_line(row.result.predictor)),
                Text(protocol),
                _score(row, comparison.is_best(row)),
                f"{row.date:%Y-%m-%d %H:%M}",
                Text(one_line(str(newest.folder.relative_to(root)))),
            ]
            table.add_row(*(cells if with_folder else cells[:-1]))
        table.add_section()
    return table


def _score(row: Row, best: bool) -> Text:
    """'★ 0.9000 ± 0.0200 (folds) ± 0.0100 (3 seeds), best of 2 settings by validation !'."""
    text = Text(f"{'★' if best else ' '} {number(row.score)}", style="bold green" if best else "")
    if row.fold_spread is not None:
        text.append(f" ± {number(row.fold_spread)} (folds)")
    if len(row.runs) > 1:
        text.append(f" ± {number(row.seed_spread)} ({len(row.runs)} seeds)")
    if row.settings > 1:
        text.append(f", best of {row.settings} settings by validation", style="not bold")
    if row.doubts:
        text.append(" !", style="bold yellow")
    return text


def doubts_text(comparisons: Sequence[Comparison]) -> list[str]:
    """A line for each doubt about a row marked with '!'."""
    names = task_labels([comparison.task for comparison in comparisons])
    return [
        one_line(f"! {names[comparison.task]}, {model}: {doubt}")
        for comparison in comparisons
        for row, model in zip(comparison.rows, model_labels(comparison.rows), strict=True)
        for doubt in row.doubts
    ]


def write_csv(comparisons: Sequence[Comparison], path: Path) -> Path:
    """A line for each run, also for those that do not count; after the fixed columns one for each score of any run.

    ``row`` numbers the rows of the table, ``counts`` says whether the run counts in its row, ``why_not`` why it
    does not; ``row_score`` and ``row_seed_std`` are over the seeds that count. Text that a spreadsheet would take
    for a formula has an apostrophe before it.
    """
    lines = [line for comparison in comparisons for line in _lines(comparison)]
    names = sorted({name for run, _ in lines for name in _score_names(run)})
    number_of: dict[int, int] = {}
    with replacing(path, newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*CSV_FIELDS, *(cell(name) for name in names)])
        for run, (row, why_not) in lines:
            place = number_of.setdefault(id(row), len(number_of) + 1)
            values = {**_fields(run), **_row_fields(row), "row": place, "counts": not why_not, "why_not": why_not}
            scores = [run.result.scores.get(name) if name in _score_names(run) else None for name in names]
            writer.writerow([cell(value) for value in [*(values[name] for name in CSV_FIELDS), *scores]])
    return path


def _lines(comparison: Comparison) -> Iterator[tuple[Run, tuple[Row, str]]]:
    for row in comparison.rows:
        yield from ((run, (row, "")) for run in row.runs)
        yield from ((run, (row, why)) for run, why in row.not_counted)


def _score_names(run: Run) -> list[str]:
    scores = run.result.scores
    return [name for name in scores if not any(f"{other}_{end}" == name for other in scores for end in ("mean", "std"))]


def _fields(run: Run) -> dict[str, Any]:
    result = run.result
    fields: dict[str, Any] = {name: getattr(result, name) for name in CSV_FIELDS if hasattr(result, name)}
    for name in ("protocol_changes", "hyperparameters", "model_options", "undefined"):
        fields[name] = json.dumps(dict(fields[name]))
    return {
        **fields,
        "std": result.spread,
        "doubts": " | ".join(result.doubts),
        "date": f"{run.date:%Y-%m-%dT%H:%M:%S}",
        "folder": str(run.folder),
    }


def _row_fields(row: Row) -> dict[str, Any]:
    return {
        "row_score": row.score,
        "row_seed_std": row.seed_spread,
        "row_seeds": len(row.runs),
        "row_settings": row.settings,
    }
