"""Which runs are shown, told apart by their tags: wandb's filters find tags whatever they are."""

from __future__ import annotations

from typing import Any

import wandb_workspaces.workspaces as ws

from .options import Options, domains

# The runs' table: what tells runs apart, then what came out.
COLUMNS = (
    "run:tags",
    "config:task_name.value",
    "config:model_name.value",
    "config:predictor_name.value",
    "config:protocol_name.value",
    "config:evaluation.value",
    "summary:primary_metric",
    "summary:score",
    "summary:score_std",
    "summary:leaderboard/rank",
    "summary:leaderboard/of",
    "summary:doubts",
)


def chosen(options: Options) -> list[Any]:
    """The filters that hold for all runs of a dashboard; all of them must."""
    tags = [tag for tag in (options.domain, options.protocol) if tag]
    return [ws.Tags().isin([tag]) for tag in tags]


def by_domain(options: Options) -> dict[str, list[Any]]:
    """Filters of the report's sets of runs, by name: a domain each, and all other tasks; every run is in one."""
    if options.domain:
        return {options.domain: chosen(options)}
    known = domains()
    sets = {name: [ws.Tags().isin([name]), *chosen(options)] for name in known}
    return {**sets, "other tasks": [ws.Tags().notin(known), *chosen(options)]}
