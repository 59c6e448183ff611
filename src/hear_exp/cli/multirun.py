"""A sweep: all its jobs are checked before the first one starts, and a table of them ends it."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, filter_overrides
from hydra.experimental.callback import Callback
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf, open_dict

from ..errors import UserError
from .choices import choices_of_job
from .file_globs import files_of
from .job_state import JobState
from .run_record import ERROR, has_begun, settle_killed
from .sentences import is_expected, leave, sentence
from .sweep_plan import JobFacts, check_space, plan_text, time_left
from .sweep_table import Row, read_rows, show_rows

log = logging.getLogger(__name__)


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
        self._jobs, self._ended, self._started = 0, 0, time.monotonic()

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
        self._started = time.monotonic()
        self._folder = _Running.folder = Path(config.hydra.sweep.dir)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Say how long the rest of the sweep takes, where its jobs run in this process one after another."""
        if self._folder is not None:
            self._ended += 1
            log.info("%s", time_left(self._ended, self._jobs, time.monotonic() - self._started))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show the table; the status is 1 where a job failed."""
        _Running.folder = None
        if self._folder is not None:
            rows = _endings(self._folder)
            show_rows(rows)
            failed = [str(row.number) for row in rows if not row.status.done]
            if failed:
                leave(f"{len(failed)} of {len(rows)} jobs failed: {', '.join(failed)}")

    def _check_jobs(self, config: DictConfig) -> None:
        jobs, facts = expand(config), list[JobFacts | None]()
        for number, overrides in enumerate(jobs):
            try:
                facts.append(self._check_job(config, number, overrides))
            except Exception as error:
                if not is_expected(error):
                    raise
                what = " ".join(filter_overrides(overrides))
                raise UserError(
                    f"job {number} ({what}): {sentence(error)}; none of the {len(jobs)} jobs was started"
                ) from error
        check_space(facts)
        folder = Path(config.hydra.sweep.dir)
        done = sum(row.status.done for row in read_rows(folder)) if folder.is_dir() else 0
        self._jobs = len(jobs) - done
        if jobs:
            print(f"sweep: {plan_text(facts, len(jobs), done)}", file=sys.stderr)

    def _check_job(self, config: DictConfig, number: int, overrides: Sequence[str]) -> JobFacts | None:
        with job_config(config, number, overrides) as job:
            choices = choices_of_job(job)
            with open_dict(job):
                del job["hydra"]
            found = self._check(OmegaConf.to_container(job, resolve=True, throw_on_missing=True), choices)
        return found if isinstance(found, JobFacts) else None


@contextmanager
def job_config(config: DictConfig, number: int, overrides: Sequence[str]) -> Iterator[DictConfig]:
    """The config of a job of the sweep ``config``, composed as its launcher will; the running one in the block."""
    job = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    before = HydraConfig.instance().cfg
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    HydraConfig.instance().set_config(job)
    try:
        yield job
    finally:
        HydraConfig.instance().cfg = before


def show_unfinished() -> None:
    """Show the table of a sweep that ended with an error, such as a job that the scheduler killed; else nothing."""
    if _Running.folder is not None and (rows := _endings(_Running.folder)):
        show_rows(rows)
    _Running.folder = None


def expand(config: DictConfig) -> list[list[str]]:
    """The overrides of each job of a sweep, in Hydra's order: the product of their values, the last one fastest.

    glob() on a config group chooses of its files, on any other option the files on disk that match. None are known
    for a sweeper that chooses them as it goes. Raises UserError for a sweep without jobs, and for a continuous range.
    """
    if not str(config.hydra.sweeper._target_).endswith((".BasicSweeper", ".HearSweeper")):
        return []
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
    for override in overrides:
        if override.is_interval_sweep():
            raise UserError(
                f"{override.input_line} is a continuous range, of which no list of jobs can be made; write "
                f"{override.get_key_element()}=range(START,STOP,STEP), or the values with commas between them"
            )
    axes: dict[str, list[str]] = {}  # one that is given twice keeps its place, and has the values given last
    for override in overrides:
        axes[override.get_key_element()] = _values(override)
        if not axes[override.get_key_element()]:
            raise UserError(f"{override.input_line} matches nothing, so that this sweep has no jobs")
    return [
        [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
        for values in itertools.product(*axes.values())
    ]


def _values(override: Override) -> list[str]:
    """The values of an override, one for each job."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    groups = GlobalHydra.instance().config_loader()
    is_group = bool(groups.get_group_options(override.key_or_group))
    files = None if is_group else files_of(override)
    return list(override.sweep_string_iterator()) if files is None else files


def _endings(folder: Path) -> list[Row]:
    """The rows of a sweep that has ended; where jobs leave no result, one that has not failed has ended well."""
    rows = read_rows(folder)
    if _Running.leaves_result:
        return rows
    return [replace(row, status=JobState("finished")) if _has_ended(row) else row for row in rows]


def _has_ended(row: Row) -> bool:
    failed = (row.folder / ERROR).exists() or has_begun(row.folder)
    return not row.status.done and not failed and row.folder.exists()


def _settle(config: DictConfig) -> None:
    if runs := OmegaConf.select(config, "paths.runs"):
        settle_killed(Path(runs))
