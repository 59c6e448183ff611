"""The picture of a pretraining run's checkpoints: each task's score against the step in the weights' file name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..results.task_id import task_labels
from .figures import BLUE, GREEN, GREY, INK, LINE_LENGTH, ORANGE, arrow, label_text, new_figure, save, tidy
from .row_labels import protocol_labels
from .runs import Comparison, Row

PANEL_COLUMNS = 3
LOOKS = [(colour, marker) for marker in "os^D" for colour in (BLUE, ORANGE, GREEN, INK, GREY)]
LOG_FROM = 100  # steps that differ by this factor are drawn on a logarithmic axis


@dataclass(frozen=True)
class Curve:
    """Rows that differ in their weights only, all of one folder, and each one's step, in increasing order."""

    label: str
    points: tuple[tuple[int, Row], ...]


def step_of(weights: str) -> int | None:
    """The step in the name of a weights file: the number after 'step', else the last one; None without a number."""
    name = Path(weights).name
    after_step = re.findall(r"step\D?(\d+)", name, re.IGNORECASE)
    numbers = after_step or re.findall(r"\d+", Path(name).stem)
    return int(numbers[-1]) if numbers else None


def draw_steps(comparisons: Sequence[Comparison], path: Path) -> Path | None:
    """A panel for each task with a curve of two steps or more; None, and no picture, where there is none.

    A bar is one standard deviation, as in the picture of all runs: over seeds where there are several, else over folds.
    """
    panels = [(comparison, found) for comparison in comparisons if (found := curves(comparison))]
    if not panels:
        path.unlink(missing_ok=True)  # of runs that have been removed
        return None
    names = task_labels([comparison.task for comparison in comparisons])
    columns = min(PANEL_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    height = 3.0 + 0.2 * max(len(found) for _, found in panels)
    headline = (
        "test score against step of pretraining\n(bars: one standard deviation over seeds, of one seed over folds)"
    )
    figure = new_figure(max(7, 4.6 * columns), 0.7 + height * lines, headline)
    places = list(figure.subplots(lines, columns, squeeze=False).flat)
    for (comparison, found), axes in zip(panels, places, strict=False):
        _panel(axes, comparison, found)
        tidy(axes, label_text(names[comparison.task]), "y")
    for axes in places[len(panels) :]:
        axes.remove()
    return save(figure, path)


def curves(comparison: Comparison) -> list[Curve]:
    """The curves of a task: its rows with a defined score and a step, by everything but the weights' file name."""
    groups: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for row, protocol in zip(comparison.rows, protocol_labels(comparison.rows), strict=True):
        weights = str(row.result.model_options.get("weights") or "")
        step = step_of(weights)
        if step is None or row.score is None or not math.isfinite(row.score):
            continue
        others = {name: value for name, value in row.result.model_options.items() if name != "weights"}
        options = json.dumps(others, sort_keys=True, default=str)
        key = (row.result.model, str(Path(weights).parent), row.result.predictor, protocol, options)
        groups.setdefault(key, []).append((step, row))
    kept = {key: points for key, points in sorted(groups.items()) if len({step for step, _ in points}) > 1}
    labels = _labels(list(kept))
    return [
        Curve(label, tuple(sorted(points, key=lambda point: point[0])))
        for label, points in zip(labels, kept.values(), strict=True)
    ]


def _labels(keys: Sequence[tuple[str, ...]]) -> list[str]:
    """The model of each key, with what differs between the keys behind it."""
    differing = [place for place in range(1, 5) if len({key[place] for key in keys}) > 1]
    return [", ".join([key[0], *(key[place] for place in differing)]) for key in keys]


def _panel(axes: Any, comparison: Comparison, found: Sequence[Curve]) -> None:
    for i, curve in enumerate(found):
        colour, marker = LOOKS[i % len(LOOKS)]
        steps, rows = [step for step, _ in curve.points], [row for _, row in curve.points]
        spreads = [row.seed_spread if len(row.runs) > 1 else row.fold_spread for row in rows]
        axes.errorbar(
            steps,
            [row.score for row in rows],
            yerr=[spread if spread is not None and math.isfinite(spread) else 0.0 for spread in spreads],
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            elinewidth=0.8,
            label=label_text(curve.label, LINE_LENGTH),
        )
    steps = [step for curve in found for step, _ in curve.points]
    if min(steps) > 0 and max(steps) / min(steps) >= LOG_FROM:
        axes.set_xscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(label_text(comparison.metric) + arrow(comparison.metric), parse_math=False)
    legend = axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2))
    for text in legend.get_texts():
        text.set_parse_math(False)
