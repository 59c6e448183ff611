"""A task's own settings, composed over the files of predictor and protocol and under what a person set."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ..cli.choices import Choices
from ..cli.composition import composed_file
from ..errors import UserError
from ..prediction.protocol import Protocol, changed_fields, protocol_from_config
from ..tasks.folder import Task
from .config import PredictorChoice, Settings

_POSTPROCESSING = {"median_filter_ms": "median_filter_ms", "min_duration": "min_duration_ms"}  # HEAR's name: ours


def with_task_settings(settings: Settings, task: Task, choices: Choices) -> Settings:
    """``settings`` with those of ``task`` in its predictor and protocol, unless a person set them.

    Hydra composes the job again with them, so that its order decides: what was typed, an experiment's file or a
    config of one's own, over the task, over the predictor's and the protocol's files. Those that were typed, or that a
    protocol of one's own changes, are left out beforehand. Raises UserError for settings
    that cannot be used.
    """
    typed, changed = choices.typed_options("protocol"), protocol_changes(settings.protocol)
    own = {
        "predictor": predictor_settings(task, settings.predictor.hyperparameters, choices.typed_options("predictor")),
        "protocol": _protocol_settings(task, {*typed, *changed}),
    }
    own = {group: options for group, options in own.items() if options}
    if not own:
        return settings
    assert choices.composition is not None
    again = choices.composition.with_task_settings(own)
    made = dict[str, Any]()
    if "predictor" in again:
        made["predictor"] = PredictorChoice.model_validate(again["predictor"])
    if "protocol" in again:
        made["protocol"] = protocol_from_config(again["protocol"])
    return settings.model_copy(update=made)


def predictor_settings(task: Task, predictor: Mapping[str, Any], typed: Collection[str] = ()) -> dict[str, Any]:
    """The task's settings for ``predictor``, without those that were ``typed``.

    One that the predictor does not have (max_epochs for knn) has nothing to act on and is left out; so is what says
    which predictor it is (name, and Hydra's keywords such as _target_).
    """
    own = {
        name: value
        for name, value in task.predictor_grid.items()
        if name in predictor and name not in typed and name != "name" and not name.startswith("_")
    }
    for name, value in own.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and ("${" in item or item == "???"):  # which Hydra would not take as it stands
                raise UserError(f"{task.folder}: task_specific_param_grid.{name} is {value!r}, expected a plain value")
    return own


def protocol_changes(protocol: Protocol) -> dict[str, Any]:
    """The fields in which ``protocol`` differs from the shipped one that it is named after."""
    published = composed_file("protocol", protocol.name)
    return changed_fields(protocol, protocol_from_config(published)) if published else {}


def _protocol_settings(task: Task, set_by_user: Collection[str]) -> dict[str, Any]:
    grid = task.postprocessing_grid
    return {
        field: _times(task, name, grid[name])
        for name, field in _POSTPROCESSING.items()
        if name in grid and field not in set_by_user
    }


def _times(task: Task, name: str, value: Any) -> list[float]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    good = [not isinstance(v, bool) and isinstance(v, int | float) and 0 <= v < math.inf for v in values]
    if not values or not all(good):
        raise UserError(
            f"{task.folder}: event_postprocessing_grid.{name} is {value!r}, expected milliseconds from 0 up"
        )
    return values
