"""Where a run is recorded besides its own folder: wandb, a CSV file, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from .csv_tracker import CsvTracker
from .task_id import TaskId
from .tracker import Careful, Tracker
from .wandb_tracker import WandbTracker


def make_tracker(
    logger_config: Mapping[str, Any],
    *,
    run_folder: Path,
    config: Mapping[str, Any],
    name: str,
    model: str,
    task: TaskId,
) -> Tracker:
    """The tracker that ``logger_config["name"]`` names: wandb, csv or none. Once it runs, its failures are warnings.

    Args:
        logger_config: the config group ``logger``.
        run_folder: where the run's own files are.
        config: the whole composed config, nested; wandb keeps it with dotted names.
        name: the run's name on wandb; runs are grouped there by ``model`` and ``task``, all of its id.

    Raises:
        UserError: an unknown name; on entering the tracker, wandb that does not start.
    """
    kind = logger_config["name"]
    if kind == "none":
        return Tracker()
    if kind == "csv":
        return Careful(CsvTracker(Path(run_folder) / "metrics.csv"))
    if kind == "wandb":
        return Careful(WandbTracker(logger_config, config=config, name=name, model=model, task=task))
    raise UserError(f"logger.name is {kind!r}, expected one of: wandb, csv, none")
