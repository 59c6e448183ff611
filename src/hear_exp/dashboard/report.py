"""The dashboard as a report: the same topics as the workspace, with words, and a set of runs for each domain."""

from __future__ import annotations

from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from .options import Options
from .runsets import COLUMNS, by_domain
from .topics import Topic, topics

GRID = 24  # columns that a report is wide
HEIGHT = 9  # rows of a panel


def make_report(options: Options) -> Any:
    """A ``Report`` of the package wandb-workspaces; nothing is saved, and nobody called."""
    shown = ", ".join(tag for tag in (options.domain, options.protocol) if tag) or "all domains and protocols"
    introduction = (
        f"Runs of the project {options.project}: {shown}. Under each grid of panels stand its sets of runs, one for "
        "each domain; its eye hides a set, and its filter takes further tags: a task's name, a protocol, a predictor, "
        "a sweep."
    )
    return wr.Report(
        project=options.project,
        entity=options.entity,
        title=options.name,
        description=f"hear_exp: {shown}",
        blocks=[
            wr.P(introduction),
            wr.TableOfContents(),
            *(block for topic in topics(options.settings) for block in _blocks(topic, options)),
        ],
        width="fluid",
    )


def _blocks(topic: Topic, options: Options) -> list[Any]:
    width = GRID // topic.columns
    for i, panel in enumerate(topic.panels):
        row, column = divmod(i, topic.columns)
        panel.layout = wr.Layout(x=column * width, y=row * HEIGHT, w=width, h=HEIGHT)
    # A set of runs that names no project of its own is one of the report's.
    runsets = [
        wr.Runset(name=name, filters=ws.And(*filters) if filters else "", pinned_columns=list(COLUMNS))
        for name, filters in by_domain(options).items()
    ]
    return [wr.H2(topic.title), wr.P(topic.text), wr.PanelGrid(runsets=runsets, panels=list(topic.panels))]
