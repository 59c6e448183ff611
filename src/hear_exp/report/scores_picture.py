"""The picture of all runs: a panel for each task, a dot for each row of its comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..results.task_id import task_labels
from .figures import BLUE, GREY, LINE_LENGTH, PALE, arrow, label_text, new_figure, number, save, tidy
from .row_labels import model_labels, note, protocol_labels
from .runs import Comparison, Row

PANEL_COLUMNS = 3


def draw_scores(comparisons: Sequence[Comparison], path: Path) -> Path:
    """A panel for each task, the best row on top.

    A dot is a row's score, its bar one standard deviation: over seeds where there are several (small dots: each
    seed), else over folds.
    """
    names = task_labels([comparison.task for comparison in comparisons])
    columns = min(PANEL_COLUMNS, len(comparisons))
    lines = -(-len(comparisons) // columns)
    heights = [
        0.9 + 0.24 * max(len(c.rows) for c in comparisons[line * columns : (line + 1) * columns])
        for line in range(lines)
    ]
    headline = "test scores by task and model\n(bars: one standard deviation over seeds, of one seed over folds)"
    figure = new_figure(max(7, 4.6 * columns), 0.85 + sum(heights), headline)
    panels = figure.subplots(lines, columns, squeeze=False, height_ratios=heights).flat
    for comparison, axes in zip(comparisons, panels, strict=False):
        _panel(axes, comparison)
        tidy(axes, label_text(names[comparison.task]), "both")
    for axes in list(panels):
        axes.remove()
    return save(figure, path)


def _panel(axes: Any, comparison: Comparison) -> None:
    for y, row in enumerate(comparison.rows):
        if row.score is None or not math.isfinite(row.score):
            axes.text(
                0.01, y, number(row.score), transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=8
            )
            continue
        _dot(axes, y, row, comparison.is_best(row))
    labels = [
        ", ".join(part for part in (model, row.result.predictor, protocol, note(row)) if part)
        for row, model, protocol in zip(
            comparison.rows, model_labels(comparison.rows), protocol_labels(comparison.rows), strict=True
        )
    ]
    marked = [label + (" !" if row.doubts else "") for label, row in zip(labels, comparison.rows, strict=True)]
    axes.set_yticks(range(len(labels)), [label_text(label, LINE_LENGTH) for label in marked], parse_math=False)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.set_xlabel(label_text(comparison.metric) + arrow(comparison.metric), parse_math=False)


def _dot(axes: Any, y: int, row: Row, best: bool) -> None:
    look = {"color": BLUE, "zorder": 3} if best else {"color": GREY, "zorder": 2}
    spread = row.seed_spread if len(row.runs) > 1 else row.fold_spread
    axes.errorbar(row.score, y, xerr=spread, fmt="o", markersize=6, elinewidth=1.2, **look)
    if len(row.runs) > 1:
        seeds = [run.result.score for run in row.runs]
        axes.plot(seeds, [y] * len(seeds), "o", markersize=2.5, color=PALE, markeredgecolor=GREY, zorder=4)
