"""The sweeper: notes all jobs in sweep.json before the first one, and launches those that are not done yet."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from hear_exp.cli import sweep_manifest
from hear_exp.cli.job_state import SWEEPING, job_state
from hear_exp.cli.multirun import expand, job_config
from hear_exp.cli.run_record import ERROR
from hear_exp.cli.sweep_manifest import Manifest, SweepJob
from hear_exp.errors import UserError

log = logging.getLogger(__name__)


class HearSweeper(Sweeper):
    """Expands as Hydra's basic sweeper does.

    Where ``hydra.sweep.dir`` names the folder of a sweep of the same jobs, only those are launched that have not
    ended well; each keeps its number and its folder. A job that fails does not end the sweep.
    """

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, max_batch_size: int | None = None, params: Any = None) -> None:
        self.max_batch_size = max_batch_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra calls it before ``sweep``."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launch what is missing; one list of returns a batch. ``arguments`` stand in the config too.

        Raises UserError for a folder that holds another sweep, or one that is going on.
        """
        folder = Path(self.config.hydra.sweep.dir).absolute()
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(folder)
        jobs = [
            SweepJob(number, tuple(job), self._folder_name(number, job))
            for number, job in enumerate(expand(self.config))
        ]
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            missing = self._missing(folder, jobs)
            OmegaConf.save(self.config, folder / "multirun.yaml")  # as Hydra's own sweeper leaves it
            size = self.max_batch_size or max(1, len(missing))
            return [self._launch(missing[start : start + size]) for start in range(0, len(missing), size)]

    def _folder_name(self, number: int, overrides: Sequence[str]) -> str:
        """The name of a job's folder, as the launcher will compose it. Raises where the job cannot be composed."""
        with job_config(self.config, number, overrides) as job:
            return str(job.hydra.sweep.subdir)

    def _missing(self, folder: Path, jobs: Sequence[SweepJob]) -> list[SweepJob]:
        """The jobs to launch; sweep.json is there afterwards."""
        if not sweep_manifest.has_manifest(folder):
            launcher = str(self.config.hydra.runtime.choices["hydra/launcher"])
            sweep_manifest.write(folder, sweep_manifest.new_manifest(launcher, jobs))
            return list(jobs)
        _check_same(folder, sweep_manifest.read(folder), jobs)
        missing = [job for job in jobs if not job_state(folder / job.folder).done]
        log.info("%d of %d jobs of %s are done", len(jobs) - len(missing), len(jobs), folder)
        for job in missing:  # what it failed with is no longer so
            (folder / job.folder / ERROR).unlink(missing_ok=True)
        return missing

    def _launch(self, jobs: Sequence[SweepJob]) -> Sequence[JobReturn]:
        returned: list[JobReturn] = []
        for run in _consecutive(jobs):  # a launcher counts on from the number it is given
            returned.extend(self.launcher.launch([list(job.overrides) for job in run], run[0].number))
        return returned


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the sweep's ``folder`` against a second process that would launch the same jobs."""
    lock = filelock.FileLock(folder / SWEEPING)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"{folder}: this sweep is going on, another process launches its jobs and waits for them; "
            f"python -m hear_exp.sweep status {folder} shows how far it is"
        ) from None
    except (OSError, NotImplementedError):
        pass  # some file systems have no locks
    try:
        yield
    finally:
        lock.release()


def _check_same(folder: Path, manifest: Manifest, jobs: Sequence[SweepJob]) -> None:
    if list(manifest.jobs) == list(jobs):
        return
    differ = next((job for job, was in zip(jobs, manifest.jobs, strict=False) if job != was), None)
    what = f"{len(jobs)} jobs" if differ is None else f"for example {' '.join(differ.overrides)} as job {differ.number}"
    raise UserError(
        f"{folder} holds a sweep of {len(manifest.jobs)} jobs, and other ones than these ({what}); name another "
        f"folder with hydra.sweep.dir, or run what it is missing with python -m hear_exp.sweep resume {folder}"
    )


def _consecutive(jobs: Sequence[SweepJob]) -> list[list[SweepJob]]:
    runs: list[list[SweepJob]] = []
    for job in jobs:
        if runs and runs[-1][-1].number + 1 == job.number:
            runs[-1].append(job)
        else:
            runs.append([job])
    return runs
