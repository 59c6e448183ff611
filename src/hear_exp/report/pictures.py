"""Pictures of a run: learning curve, grid, and what the predictions get right and wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..lenient import only_warn
from .event_roll import event_rolls
from .figures import (
    BLUE,
    GREY,
    INK,
    LINE_LENGTH,
    ORANGE,
    PALE,
    arrow,
    label_text,
    new_figure,
    number,
    save,
    score_text,
    settings,
    tidy,
    title,
)

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome
    from ..prediction.problem import Problem
    from ..prediction.search import SearchOutcome
    from ..results.result import Result

CELLS_WITH_NUMBERS, CELLS_WITH_NAMES = 12, 60  # labels up to which a confusion matrix has room for them
BARS_PER_COLUMN, BAR_COLUMNS = 40, 6
GRID_POINTS_SHOWN = 40


def draw_pictures(folder: Path, problem: Problem, outcome: SearchOutcome, result: Result) -> list[Path]:
    """Draw what suits the task into FOLDER/plots and return the paths; what cannot be drawn is a warning.

    learning_curve (unless nothing was trained), grid (of at least two points), and by kind of task confusion
    (multiclass), average_precision (multilabel) or events.
    """
    task = problem.task
    drawers = {"learning_curve": _learning_curve, "grid": _grid}
    if task.embedding_type == "event":
        drawers["events"] = event_rolls
    elif task.prediction_type == "multiclass":
        drawers["confusion"] = _confusion
    else:
        drawers["average_precision"] = _average_precision
    pictures = []
    for name, draw in drawers.items():
        path = Path(folder) / "plots" / f"{name}.png"
        with only_warn(f"the picture {path} was not drawn"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if (figure := draw(problem, outcome, result)) is not None:
                pictures.append(save(figure, path))
    return pictures


# What every run has -----------------------------------------------------------------------------------------


def _learning_curve(problem: Problem, outcome: SearchOutcome, result: Result) -> Any:
    """The winner's losses and validation score by epoch; the first fold strong, the others pale behind it."""
    fits = [fit for fit in outcome.folds if fit.curve]
    if not fits:
        return None
    scored = any(math.isfinite(v.score) for fit in fits for v in fit.curve)
    figure = new_figure(8 if scored else 5, 3.2, title(result, "learning curve"))
    panels = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    for fit in reversed(fits):
        first = fit is fits[0]
        _line(panels[0], fit, "train_loss", GREY, first, "training")
        _line(panels[0], fit, "loss", ORANGE, first, "validation")
        if scored:
            _line(panels[1], fit, "score", BLUE, first, "validation")
    best = f", best {number(fits[0].monitored)} at epoch {fits[0].epoch + 1}"
    by_loss = problem.monitor == "loss"
    others = f" (pale: the other {len(fits) - 1} folds)" if len(fits) > 1 else ""
    tidy(panels[0], "loss" + (best if by_loss else "") + others, "y")
    panels[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    if scored:
        tidy(
            panels[1],
            f"validation {result.primary_metric}{arrow(result.primary_metric)}" + ("" if by_loss else best),
            "y",
        )
    for axes in panels:
        axes.axvline(fits[0].epoch + 1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xlabel("epoch", fontsize=9, color=INK)
        axes.xaxis.get_major_locator().set_params(integer=True)
    judged = panels[0] if by_loss or not scored else panels[1]
    if math.isfinite(fits[0].monitored):
        judged.plot([fits[0].epoch + 1], [fits[0].monitored], "o", color=INK, markersize=5, zorder=5)
    return figure


def _line(axes: Any, fit: FitOutcome, field: str, colour: str, first: bool, name: str) -> None:
    epochs = [v.epoch + 1 for v in fit.curve]  # people count from 1, as the run's table and its doubts do
    values = [getattr(v, field) for v in fit.curve]
    marker = "o" if len(epochs) < 12 else None
    axes.plot(
        epochs,
        values,
        color=colour,
        linewidth=1.8 if first else 1,
        alpha=1 if first else 0.25,
        marker=marker,
        markersize=3.5 if first else 2,
        label=name if first else None,
    )


def _grid(problem: Problem, outcome: SearchOutcome, result: Result) -> Any:
    """Every grid point's validation score, best first; labels name the settings that vary."""
    if len(outcome.grid) < 2:
        return None
    points = [fit.job.hyperparameters for fit in outcome.grid]
    varying = [name for name in points[0] if len({str(point[name]) for point in points}) > 1]
    loss = outcome.grid[0].monitor == "loss"
    sign = -1 if result.higher_is_better and not loss else 1
    scores = [fit.monitored for fit in outcome.grid]
    order = sorted(range(len(points)), key=lambda i: (math.inf if math.isnan(scores[i]) else sign * scores[i], i))
    shown = order[:GRID_POINTS_SHOWN]
    figure = new_figure(7, 1.2 + 0.24 * len(shown), title(result, "hyperparameter search"))
    axes = figure.subplots()
    for y, i in enumerate(shown):
        if math.isfinite(scores[i]):
            axes.plot(
                scores[i],
                y,
                "o",
                color=BLUE if i == outcome.winner else GREY,
                markersize=7 if i == outcome.winner else 5,
            )
            if i == outcome.winner:
                axes.annotate(
                    number(scores[i]),
                    (scores[i], y),
                    (8, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    color=BLUE,
                    annotation_clip=False,
                )
        else:
            axes.annotate(
                "undefined",
                (0.01, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color=GREY,
            )
    varied = [settings({name: points[i][name] for name in varying}) or f"grid point {i}" for i in shown]
    names = [label_text(text, LINE_LENGTH) for text in varied]
    axes.set_yticks(range(len(shown)), names, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.12)
    what = "loss ↓" if loss else result.primary_metric + arrow(result.primary_metric)
    axes.set_xlabel(f"validation {what} on the first fold" if len(outcome.folds) > 1 else f"validation {what}")
    part = (
        f"the best {len(shown)} of {len(points)} grid points"
        if len(shown) < len(points)
        else f"{len(points)} grid points"
    )
    tidy(axes, part, "both")
    axes.get_yticklabels()[shown.index(outcome.winner)].set(fontweight="bold", color=BLUE)
    return figure


# Scene tasks ------------------------------------------------------------------------------------------------


def _predictions(problem: Problem, outcome: SearchOutcome) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and targets, both (clips, labels), of all folds' test splits."""
    targets = problem.targets()
    found = [fit.tested for fit in outcome.folds if fit.tested is not None]
    rows = [problem.embeddings.split_range(tested.split) for tested in found]
    return (
        np.concatenate([tested.probabilities for tested in found]),
        np.concatenate([targets[r.start : r.stop] for r in rows]),
    )


def confusion_shares(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of the clips of each label (row), the share that each label is predicted for (column).

    Args:
        probabilities: (clips, labels) float.
        targets: (clips, labels) one-hot.

    Returns:
        (labels, labels) float64; a row of nan for a label that no clip has.
    """
    labels = targets.shape[1]
    counts = np.zeros((labels, labels))
    np.add.at(counts, (targets.argmax(axis=1), probabilities.argmax(axis=1)), 1)
    clips = counts.sum(axis=1, keepdims=True)
    shares = np.full_like(counts, np.nan)
    np.divide(counts, clips, out=shares, where=clips > 0)
    return shares


def _confusion(problem: Problem, outcome: SearchOutcome, result: Result) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    shares = confusion_shares(*_predictions(problem, outcome))
    labels = [label_text(label) for label in problem.task.labels]
    size = min(max(0.55 * len(labels), 2.4), 7.5)
    figure = new_figure(size + 2.2, size + 1.6, title(result, "confusion matrix"))
    axes = figure.subplots()
    colours = colormaps["Blues"].with_extremes(bad=PALE)
    # Where cells are too small for numbers, a paler scale would hide the confusions, which are small.
    norm = PowerNorm(1 if len(labels) <= CELLS_WITH_NUMBERS else 0.5, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap=colours, norm=norm, interpolation="nearest")
    tidy(axes, f"test clips: {score_text(result)}")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, color=GREY, labelcolor=INK)
    bar.set_label("share of the label's clips", fontsize=8, color=INK)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("reference", fontsize=9)
    if len(labels) <= CELLS_WITH_NAMES:
        small = {"fontsize": 8 if len(labels) <= 30 else 5.5, "parse_math": False}
        longest = max(len(label) for label in labels)
        turned = {"rotation": 90} if longest > 4 or len(labels) > 12 else {}
        axes.set_xticks(range(len(labels)), labels, **small, **turned)
        axes.set_yticks(range(len(labels)), labels, **small)
        axes.tick_params(length=0)
    else:
        note = f"predicted (index of the label)\n\nmost often confused\n{_worst_pairs(shares, labels)}"
        axes.set_xlabel(note, fontsize=9, parse_math=False)
        axes.set_ylabel("reference (index of the label)", fontsize=9)
    if len(labels) <= CELLS_WITH_NUMBERS:
        for i, j in zip(*np.nonzero(shares > 0), strict=True):
            colour = "white" if shares[i, j] > 0.55 else INK
            axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=8, color=colour)
        bar.set_label("share of the label's clips (numbers: %)", fontsize=8, color=INK)
    return figure


def _worst_pairs(shares: np.ndarray, labels: Sequence[str], count: int = 3) -> str:
    """The largest shares off the diagonal, in words."""
    wrong = np.nan_to_num(shares)
    np.fill_diagonal(wrong, 0)
    cells = [divmod(int(cell), len(labels)) for cell in np.argsort(-wrong, axis=None, kind="stable")[:count]]
    return "\n".join(f"{labels[i]} as {labels[j]} ({100 * wrong[i, j]:.0f} %)" for i, j in cells if wrong[i, j] > 0)


def _average_precision(problem: Problem, outcome: SearchOutcome, result: Result) -> Any:
    """Average precision of each label, sorted, in as many columns of bars as it takes."""
    from ..scoring.label_means import per_class_average_precision

    probabilities, targets = _predictions(problem, outcome)
    precision, positives = per_class_average_precision(probabilities, targets), targets.sum(axis=0)
    order = np.argsort(np.where(np.isnan(precision), np.inf, -precision), kind="stable")
    shown = order[: BARS_PER_COLUMN * BAR_COLUMNS]
    columns = math.ceil(len(shown) / BARS_PER_COLUMN)
    per_column = math.ceil(len(shown) / columns)
    figure = new_figure(
        max(5.5, 3.6 * columns), 1.4 + 0.2 * per_column, title(result, "average precision of each label")
    )
    pooled = "all folds' test clips pooled" if len(outcome.folds) > 1 else "test clips"
    for column, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        labels = shown[column * per_column : (column + 1) * per_column]
        rows = np.arange(len(labels))
        axes.barh(rows, np.nan_to_num(precision[labels]), color=BLUE, height=0.72)
        chance = np.where(positives[labels] > 0, positives[labels] / len(targets), np.nan)
        axes.vlines(chance, rows - 0.36, rows + 0.36, color=ORANGE, linewidth=1.5)
        for row, label in enumerate(labels):
            text = f"{positives[label]}" if positives[label] else "no positives"
            axes.annotate(text, (1.0, row), (3, 0), textcoords="offset points", va="center", fontsize=7, color=GREY)
        axes.set_yticks(rows, [label_text(problem.task.labels[i]) for i in labels], parse_math=False)
        axes.set_ylim(per_column - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel("average precision", fontsize=9)
        tidy(axes, grid="x")
        axes.tick_params(axis="y", length=0, labelsize=7.5)
    note = f"{score_text(result)}\n{pooled}\nright: clips with the label; orange: chance"
    figure.axes[0].set_title(note, loc="left", fontsize=8.5, color=INK, parse_math=False)
    return figure
