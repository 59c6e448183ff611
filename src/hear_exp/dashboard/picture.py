"""A picture of a workspace's or report's layout, drawn from its description: where which panel stands, without data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import replacing
from .glyphs import GLYPHS, GREY, INK, PALE

WIDTH = 24  # of the grid that panels stand on, in its columns
ROW, HEADING, LINE, GAP = 3.4, 1.5, 0.55, 0.2  # heights in the same unit
INCHES = 0.42  # of a unit


@dataclass(frozen=True)
class Box:
    """A panel: ``keys`` are what it shows of a run; ``x`` and ``w`` in columns of the grid, ``row`` from the top."""

    kind: str
    title: str
    keys: tuple[str, ...]
    x: float
    row: int
    w: float


@dataclass(frozen=True)
class Part:
    """A section of a workspace, or what stands below a heading of a report."""

    title: str
    text: tuple[str, ...]
    boxes: tuple[Box, ...]
    is_open: bool = True

    @property
    def height(self) -> float:
        """In units of the grid."""
        rows = 1 + max((box.row for box in self.boxes), default=-1)
        return HEADING + LINE * len(self.text) + rows * ROW + GAP


def draw_layout(description: Mapping[str, Any], path: Path) -> Path:
    """Draw the layout that ``described`` gave of a Workspace or Report into a PNG file; returns its path."""
    from matplotlib.figure import Figure

    parts = list(_sections(description) if description["type"] == "Workspace" else _headings(description))
    height = 2.2 + sum(part.height for part in parts)
    figure = Figure(figsize=(WIDTH * INCHES + 0.2, height * INCHES), dpi=110, facecolor="white")
    axes = figure.add_axes((0.01, 0.0, 0.98, 1.0))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")
    name = description.get("name") or description.get("title")
    kind = description["type"].lower()
    axes.text(0, 0.9, f"{kind} {name} of {description['project']}", fontsize=12, weight="bold", color=INK, va="center")
    note = "drawn from the specification that is saved: the layout; glyphs stand for kinds of panels, and show no data"
    axes.text(0, 1.7, note, fontsize=7.5, color=GREY, va="center")
    top = 2.2
    for part in parts:
        _draw_part(axes, part, top)
        top += part.height
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png")
    return path


def _sections(description: Mapping[str, Any]) -> Iterator[Part]:
    for section in description["sections"]:
        columns = section["layout_settings"]["columns"]
        width = WIDTH / columns
        places = [divmod(i, columns) for i in range(len(section["panels"]))]
        boxes = [
            _box(panel, column * width, row, width)
            for panel, (row, column) in zip(section["panels"], places, strict=True)
        ]
        state = "" if section["is_open"] else "  (closed)"
        yield Part(section["name"] + state, (), tuple(boxes), section["is_open"])


def _headings(description: Mapping[str, Any]) -> Iterator[Part]:
    title, text = "", []
    for block in description["blocks"]:
        if block["type"] == "P":
            text += textwrap.wrap(block["text"], 185)
        elif block["type"] == "TableOfContents":
            text.append("(table of contents)")
        elif block["type"] == "H2":
            if text:
                yield Part(title, tuple(text), ())
            title, text = block["text"], []
        elif block["type"] == "PanelGrid":
            tops = sorted({panel["layout"]["y"] for panel in block["panels"]})
            boxes = [
                _box(panel, panel["layout"]["x"], tops.index(panel["layout"]["y"]), panel["layout"]["w"])
                for panel in block["panels"]
            ]
            sets = ", ".join(runset["name"] for runset in block["runsets"])
            yield Part(title, (*text, f"sets of runs: {sets}"), tuple(boxes))
            title, text = "", []


def _box(panel: Mapping[str, Any], x: float, row: int, w: float) -> Box:
    return Box(panel["type"], title_of(panel), tuple(keys_of(panel)), x, row, w)


def title_of(panel: Mapping[str, Any]) -> str:
    """What stands above a panel; of a kind that has no titles, what it is."""
    kinds = {"ParameterImportancePlot": "parameter importance", "WeavePanelSummaryTable": "table"}
    title = panel.get("title") or panel.get("chart_strings", {}).get("title")
    return str(title or f"{kinds[panel['type']]}: {', '.join(keys_of(panel))}")


def keys_of(panel: Mapping[str, Any]) -> list[str]:
    """The names under which runs log what a panel shows, config keys as config.NAME."""
    found = [column["metric"] for column in panel.get("columns", ())]
    found += [table["tableKey"] for table in panel.get("query", {}).values()]
    for field in ("x", "y", "metrics", "media_keys", "table_name", "with_respect_to", "groupby"):
        value = panel.get(field, [])
        found += value if isinstance(value, list) else [value]
    return [key if isinstance(key, str) else f"{key['type'].lower()}.{key['name']}" for key in found]


def _draw_part(axes: Any, part: Part, top: float) -> None:
    axes.axhline(top + 0.1, color=PALE, linewidth=1)
    axes.text(0, top + 0.8, part.title, fontsize=10, weight="bold", color=INK, va="center")
    top += HEADING
    for line in part.text:
        axes.text(0, top, line, fontsize=7, color=INK, va="center")
        top += LINE
    for box in part.boxes:
        _draw_box(axes, box, top + box.row * ROW, faint=not part.is_open)


def _draw_box(axes: Any, box: Box, top: float, faint: bool) -> None:
    from matplotlib.patches import Rectangle

    left, width, height = box.x + 0.1, box.w - 0.3, ROW - 0.3
    line = "--" if faint else "-"
    axes.add_patch(
        Rectangle((left, top), width, height, facecolor="white", edgecolor=GREY, linewidth=0.8, linestyle=line)
    )
    letters = int(width * 7.4)
    axes.text(
        left + 0.3,
        top + 0.45,
        textwrap.shorten(box.title, letters, placeholder=" ..."),
        fontsize=7.5,
        color=INK,
        va="center",
    )
    keys = textwrap.wrap(", ".join(box.keys), int(letters * 1.05))
    for i, line in enumerate(keys[:2]):
        more = " ..." if i == 1 and len(keys) > 2 else ""
        axes.text(
            left + 0.3, top + 0.95 + 0.42 * i, line + more, fontsize=6, color=GREY, va="center", family="monospace"
        )
    GLYPHS[box.kind](axes, left + 0.4, top + 1.75, width - 0.8, height - 1.95)
