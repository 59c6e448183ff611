"""The look of every picture: figures, axes, colours, and how numbers and settings are written.

Figure objects without pyplot, so that no global state is shared between threads or runs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import replacing
from ..results.task_id import task_labels
from ..safe_text import one_line
from ..scoring.scores import SCORES

if TYPE_CHECKING:
    from ..results.result import Result

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, INK, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#24292f", "#8c959f", "#eaeef2"
DOTS_PER_INCH = 150
LABEL_LENGTH, LINE_LENGTH = 40, 90  # characters of a name, or of a list of settings; more would squeeze the picture


def new_figure(width: float, height: float, headline: str) -> Any:
    """An empty matplotlib figure, inches, with a headline at its top left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    figure.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK, parse_math=False)
    return figure


def tidy(axes: Any, heading: str = "", grid: str | None = None) -> None:
    """Make axes plain: no frame but the left and bottom line, small type, light grid lines along ``grid``."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=8, color=GREY, labelcolor=INK)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9, color=INK)
    if heading:
        axes.set_title(heading, loc="left", fontsize=9, color=INK, parse_math=False)
    if grid:
        axes.grid(axis=grid, color=PALE, linewidth=0.8)


def save(figure: Any, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with warnings.catch_warnings(), replacing(path, "wb") as file:
        warnings.filterwarnings("ignore", message="Glyph")  # labels in scripts that the font lacks
        figure.savefig(file, format="png")
    return path


def arrow(metric: str) -> str:
    """An arrow down behind the name of a score of which less is better."""
    return " ↓" if metric in SCORES and not SCORES[metric].higher_is_better else ""


def label_text(text: str, longest: int = LABEL_LENGTH) -> str:
    """A name from outside as a picture can show it: one line, not too long, no character that is not one."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def number(value: float | None) -> str:
    """A score for people: four decimals, four digits from 10 up."""
    if value is None or math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def settings(values: Mapping[str, Any]) -> str:
    """Hyperparameters in a line: lr 0.001, hidden_layers 1."""
    return ", ".join(f"{name} {value:g}" if _is_number(value) else f"{name} {value}" for name, value in values.items())


def changes(protocol_changes: Mapping[str, Any]) -> str:
    """Changed fields of a protocol in a line: shuffle=True."""
    return ", ".join(f"{name}={value}" for name, value in protocol_changes.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def title(result: Result, what: str) -> str:
    """A picture's headline."""
    return f"{label_text(result.model)} on {label_text(task_name(result))}: {what}"


def task_name(result: Result) -> str:
    """The task and which of its sizes it is."""
    return task_labels([result.task_id])[result.task_id]


def score_text(result: Result) -> str:
    """The primary score with its spread over folds, where there are folds."""
    spread = f" ± {number(result.spread)}" if result.spread is not None else ""
    return f"{result.primary_metric} {number(result.score)}{spread}"
