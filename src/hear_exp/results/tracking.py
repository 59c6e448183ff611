"""Where a run is recorded besides its own folder: wandb, a CSV file, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .csv_tracker import CsvTracker
from .task_id import TaskId
from .tracker import Careful, Tracker
from .wandb_logger import WandbLogger, check_wandb
from .wandb_tracker import WandbTracker


@dataclass(frozen=True)
class CsvLogger:
    """``logger=csv``: rows of RUN/metrics.csv."""

    name: Literal["csv"] = "csv"


@dataclass(frozen=True)
class NoLogger:
    """``logger=none``: nothing besides what every run leaves in its folder."""

    name: Literal["none"] = "none"


Logger = WandbLogger | CsvLogger | NoLogger


def check_logger(logger: Logger) -> None:
    """Raise UserError for a record that could not start; nothing is started, and wandb is not imported."""
    if isinstance(logger, WandbLogger):
        check_wandb(logger)


def make_tracker(
    logger: Logger,
    *,
    run_folder: Path,
    config: Mapping[str, Any],
    name: str,
    model: str,
    task: TaskId,
) -> Tracker:
    """The tracker of ``logger``. Once it runs, its failures are warnings.

    Args:
        logger: where to record.
        run_folder: where the run's own files are.
        config: the whole composed config, nested; wandb keeps it with dotted names.
        name: the run's name on wandb; runs are grouped there by ``model`` and ``task``, all of its id.

    Raises:
        UserError: on entering the tracker, wandb that does not start.
    """
    match logger:
        case NoLogger():
            return Tracker()
        case CsvLogger():
            return Careful(CsvTracker(run_folder / "metrics.csv"))
        case WandbLogger():
            return Careful(WandbTracker(logger, run_folder, config=config, name=name, model=model, task=task))
