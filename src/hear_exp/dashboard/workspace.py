"""The dashboard as a workspace: a section for each topic, beside the table of runs."""

from __future__ import annotations

from typing import Any

import wandb_workspaces.workspaces as ws
from wandb_workspaces.utils.validators import validate_no_emoji

from ..errors import UserError
from .options import Options
from .runsets import COLUMNS, chosen
from .topics import MOST_RUNS, Topic, topics


def make_workspace(options: Options) -> Any:
    """A ``Workspace`` of the package wandb-workspaces; nothing is saved, and nobody called.

    Raises UserError for a name that it does not take.
    """
    try:
        validate_no_emoji(options.name)
    except ValueError:
        raise UserError(f"wandb does not take name={options.name}: an emoji; choose another name") from None
    return ws.Workspace(
        entity=options.entity,
        project=options.project,
        name=options.name,
        sections=[_section(topic) for topic in topics(options.settings)],
        settings=ws.WorkspaceSettings(max_runs=MOST_RUNS, smoothing_type="none"),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(*chosen(options)) if chosen(options) else "",
            pinned_columns=list(COLUMNS),
        ),
    )


def _section(topic: Topic) -> Any:
    layout = ws.SectionLayoutSettings(columns=topic.columns, rows=topic.rows)
    return ws.Section(name=topic.title, panels=list(topic.panels), is_open=topic.is_open, layout_settings=layout)
