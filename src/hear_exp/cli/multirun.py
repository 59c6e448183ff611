"""A sweep: all its jobs are checked before the first one starts, and a table of them ends it."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import filter_overrides
from hydra.experimental.callback import Callback
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf, open_dict

from ..errors import UserError
from ..files import read_json
from ..safe_text import one_line
from .choices import choices_of_job
from .run_record import ERROR, RESULT, has_begun, settle_killed
from .sentences import is_expected, leave, sentence


@dataclass(frozen=True)
class Row:
    """A job as it ended: ``state`` is finished, failed or unfinished, ``outcome`` its score or what it failed with."""

    number: int
    overrides: str
    state: str
    outcome: str
    seconds: float | None
    folder: Path


class _Running:
    leaves_result = False
    folder: Path | None = None  # of the sweep that is running: Hydra does not tell its callbacks of a sweep's failure


class Jobs(Callback):
    """Hydra calls it around a sweep; conf/ names it under hydra.callbacks.

    ``check`` is the dotted name of a function of (config, choices) that raises UserError for a job that cannot work.
    ``leaves_result``: a job that ends well leaves a result.json, so that one without it has not ended.
    """

    def __init__(self, check: str | None = None, leaves_result: bool = False):
        _Running.leaves_result = leaves_result
        self._check = get_method(check) if check else lambda config, choices: None
        self._folder: Path | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a single run: settle what was killed."""
        _settle(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of the sweep. Ends the process, with nothing left behind, where one cannot work."""
        try:
            self._check_jobs(config)
        except Exception as error:
            if not is_expected(error):
                raise  # Hydra warns, and the job itself will meet the same error
            leave(sentence(error))
        _settle(config)
        self._folder = _Running.folder = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show the table; the status is 1 where a job failed."""
        _Running.folder = None
        if self._folder is not None:
            rows = read_rows(self._folder)
            show_rows(rows)
            failed = [str(row.number) for row in rows if row.state != "finished"]
            if failed:
                leave(f"{len(failed)} of {len(rows)} jobs failed: {', '.join(failed)}")

    def _check_jobs(self, config: DictConfig) -> None:
        jobs = expand(config)
        for number, overrides in enumerate(jobs):
            try:
                self._check_job(config, number, overrides)
            except Exception as error:
                if not is_expected(error):
                    raise
                what = " ".join(filter_overrides(overrides))
                raise UserError(
                    f"job {number} ({what}): {sentence(error)}; none of the {len(jobs)} jobs was started"
                ) from error

    def _check_job(self, config: DictConfig, number: int, overrides: Sequence[str]) -> None:
        before = HydraConfig.instance().cfg
        job = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        HydraConfig.instance().set_config(job)
        try:
            choices = choices_of_job(job)
            with open_dict(job):
                del job["hydra"]
            self._check(OmegaConf.to_container(job, resolve=True, throw_on_missing=True), choices)
        finally:
            HydraConfig.instance().cfg = before


def show_unfinished() -> None:
    """Show the table of a sweep that ended with an error, such as a job that the scheduler killed; else nothing."""
    if _Running.folder is not None and (rows := read_rows(_Running.folder)):
        show_rows(rows)
    _Running.folder = None


def expand(config: DictConfig) -> list[list[str]]:
    """The overrides of each job of a sweep, in Hydra's order: the product of their values, the last one fastest.

    None are known for a sweeper that chooses them as it goes. Raises UserError for a sweep without jobs.
    """
    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        return []
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
    if any(override.is_interval_sweep() for override in overrides):
        return []  # which Hydra's sweeper refuses in its own words
    axes: dict[str, list[str]] = {}  # one that is given twice keeps its place, and has the values given last
    for override in overrides:
        values = [override.get_value_element_as_str()] if not override.is_sweep_override() else None
        axes[override.get_key_element()] = list(override.sweep_string_iterator()) if values is None else values
        if not axes[override.get_key_element()]:
            raise UserError(f"{override.input_line} matches nothing, so that this sweep has no jobs")
    return [
        [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
        for values in itertools.product(*axes.values())
    ]


def read_rows(folder: Path) -> list[Row]:
    """The jobs that left something in a sweep's ``folder``, by number."""
    rows = [_row(path.parent.parent) for path in folder.glob("*/.hydra/hydra.yaml")]
    return sorted(rows, key=lambda row: (row.number, row.folder))


def show_rows(rows: Sequence[Row]) -> None:
    """Print a table of jobs on stderr; one line a job where that is not a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..progress import console

    cells = [
        [
            one_line(cell)
            for cell in (str(row.number), row.overrides, row.state, row.outcome, _seconds(row.seconds), str(row.folder))
        ]
        for row in rows
    ]
    if not console.is_terminal:
        for line in cells:
            print("  ".join(line), file=sys.stderr)
        return
    table = Table("job", "overrides", "", "score", "time", "folder", box=box.SIMPLE_HEAD, pad_edge=False)
    for row, line in zip(rows, cells, strict=True):
        style = "" if row.state == "finished" else "bold red"
        table.add_row(*(Text(cell, style if place == 2 else "", overflow="fold") for place, cell in enumerate(line)))
    console.print(table)


def _row(folder: Path) -> Row:
    hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra
    ended = not (_Running.leaves_result or has_begun(folder))
    state, outcome, seconds = "finished" if ended else "unfinished", "", None
    with contextlib.suppress(UserError, KeyError, TypeError, AttributeError):
        if (folder / RESULT).exists():
            result = read_json(folder / RESULT)
            score = result["score"]
            value = f"{score:.4f}" if isinstance(score, float) else str(score)
            state, outcome = "finished", f"{result['primary_metric']} {value}"
            seconds = sum(result["seconds"].values())
        elif (folder / ERROR).exists():
            error = read_json(folder / ERROR)
            state, outcome, seconds = "failed", str(error["sentence"]), error["seconds"]
    overrides = " ".join(filter_overrides([str(override) for override in hydra.overrides.task]))
    return Row(int(hydra.job.num), overrides, state, outcome, seconds, folder)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"


def _settle(config: DictConfig) -> None:
    if runs := OmegaConf.select(config, "paths.runs"):
        settle_killed(Path(runs))
