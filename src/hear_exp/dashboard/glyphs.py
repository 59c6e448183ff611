"""Small grey drawings that stand for the kinds of panels; they show no data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

INK, GREY, PALE = "#24292f", "#8c959f", "#eaeef2"
Glyph = Callable[[Any, float, float, float, float], None]  # axes, left, top, width, height


def _bars(axes: Any, x: float, y: float, w: float, h: float) -> None:
    for i, share in enumerate((0.8, 0.62, 0.5, 0.3)):
        middle = y + h * (i + 0.5) / 4
        _rectangle(axes, x, middle - h / 12, w * share, h / 6)
        axes.plot([x + w * (share - 0.05), x + w * (share + 0.05)], [middle, middle], color=GREY, linewidth=0.8)


def _importance(axes: Any, x: float, y: float, w: float, h: float) -> None:
    for i, share in enumerate((0.8, 0.5, 0.2)):
        _rectangle(axes, x, y + h * (i + 0.2) / 3, w * share, h / 6)


def _lines(axes: Any, x: float, y: float, w: float, h: float) -> None:
    _frame(axes, x, y, w, h)
    for level in (0.9, 0.75, 0.55):
        steps = [i / 30 for i in range(31)]
        heights = [y + h * (1 - level * (1 - 2.0 ** (-8 * step))) for step in steps]
        axes.plot([x + w * step for step in steps], heights, color=GREY, linewidth=0.8)


def _dots(axes: Any, x: float, y: float, w: float, h: float) -> None:
    _frame(axes, x, y, w, h)
    places = [((7 * i % 17) / 17, (7 * i % 17) / 17 + (5 * i % 7 - 3) / 25) for i in range(1, 15)]
    axes.plot([x + w * a for a, _ in places], [y + h * (1 - b) for _, b in places], ".", color=GREY, markersize=3)


def _parallel(axes: Any, x: float, y: float, w: float, h: float) -> None:
    count = 6
    for i in range(count):
        axes.plot([x + w * i / (count - 1)] * 2, [y, y + h], color=GREY, linewidth=0.8)
    for line in range(4):
        heights = [y + h * ((3 * line + 5 * i * (line + 1)) % 11) / 11 for i in range(count)]
        axes.plot([x + w * i / (count - 1) for i in range(count)], heights, color=GREY, linewidth=0.5)


def _tiles(axes: Any, x: float, y: float, w: float, h: float) -> None:
    for i in range(3):
        _rectangle(axes, x + w * i / 3, y, w / 3 - 0.2, h)


def _table(axes: Any, x: float, y: float, w: float, h: float) -> None:
    _rectangle(axes, x, y, w, h / 4)
    for i in range(5):
        axes.plot([x, x + w], [y + h * i / 4] * 2, color=GREY, linewidth=0.6)
        axes.plot([x + w * i / 4] * 2, [y, y + h], color=GREY, linewidth=0.6)


def _frame(axes: Any, x: float, y: float, w: float, h: float) -> None:
    axes.plot([x, x, x + w], [y, y + h, y + h], color=GREY, linewidth=0.8)


def _rectangle(axes: Any, x: float, y: float, w: float, h: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), w, h, facecolor=PALE, edgecolor=GREY, linewidth=0.5))


GLYPHS: Mapping[str, Glyph] = MappingProxyType(
    {
        "BarPlot": _bars,
        "LinePlot": _lines,
        "ScatterPlot": _dots,
        "ParallelCoordinatesPlot": _parallel,
        "ParameterImportancePlot": _importance,
        "MediaBrowser": _tiles,
        "WeavePanelSummaryTable": _table,
        "CustomChart": _lines,
    }
)
