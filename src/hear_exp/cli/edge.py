"""Hydra's edge: composes the config, runs the job in its folder, and turns errors into sentences.

Nothing heavy is imported here, so that --help and a typing mistake answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..interrupts import KEPT, Interrupted, leaving, status_of_signal
from . import multirun, resolvers
from .arguments import flags_first
from .choices import Choices, choices_of_job
from .configs import conf_dir
from .run_record import FOUND, end, has_begun, note_in_log, record_failure, remove_unbegun
from .sentences import is_expected, leave, sentence

log = logging.getLogger(__name__)
Job = Callable[[dict[str, Any], Path, Choices], Any]

resolvers.register()  # not in start(), which a Slurm job does not run: it is handed an unresolved config


def start(job: Job, config_name: str = "config") -> None:
    """Run ``job(config, run_folder, choices)`` under Hydra on conf/CONFIG_NAME.yaml; a failure ends the process.

    A user's mistake is one sentence on stderr and status 1, without a traceback unless HYDRA_FULL_ERROR is set.
    In a sweep a failed job is recorded in its folder, and the sweep goes on with the others.
    """
    full = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own version of a traceback
    shown, logging.raiseExceptions = logging.raiseExceptions, full  # wandb's log on a full disk is five tracebacks
    of_the_job: list[BaseException] = []  # errors that are not Hydra's own, and have been recorded

    def task(config: DictConfig) -> None:
        _run_job(job, config, of_the_job, full)

    sys.argv[1:] = flags_first(sys.argv[1:])
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(task)()
    except KeyboardInterrupt:
        leave(f"interrupted; {KEPT}", 130)
    except Exception as error:
        # Hydra complains of what was typed, and of folders that it cannot make, with Python's own errors as well.
        typed = error not in of_the_job and isinstance(error, ValueError | OSError)
        if (status := status_of_signal()) is not None:
            raise SystemExit(status) from None
        if full or not (typed or is_expected(error)):
            raise
        multirun.show_unfinished()
        leave(sentence(error))
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "1" if full else "0"
        logging.raiseExceptions = shown
        leaving()
    if of_the_job:
        leave(f"{len(of_the_job)} jobs failed")


def _run_job(job: Job, config: DictConfig, of_the_job: list[BaseException], full: bool) -> None:
    settings = HydraConfig.get()
    folder, single = Path(settings.runtime.output_dir), settings.mode == RunMode.RUN
    typed, started = [str(override) for override in settings.overrides.task], time.time()
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        job(plain, folder, choices_of_job(config))  # type: ignore[arg-type]
    except (KeyboardInterrupt, SystemExit) as error:
        if has_begun(folder):
            what = "interrupted" if isinstance(error, KeyboardInterrupt | Interrupted) else "ended"
            _record(folder, what, error, typed, started)
        elif status_of_signal() is not None:
            remove_unbegun(folder, Path(config.paths.root))
        raise
    except Exception as error:
        if (status := status_of_signal()) is not None:  # which the error comes from
            raise SystemExit(status) from error
        of_the_job.append(error)
        expected = is_expected(error)
        what = sentence(error) if expected else f"{type(error).__name__}: {error}"
        if single and expected and not has_begun(folder):
            remove_unbegun(folder, Path(config.paths.root))
        else:
            _record(folder, what, error, typed, started)
        if not single:
            log.error("%s", what, exc_info=error if full or not expected else None)
        elif full or not expected:
            raise
        else:  # Hydra writes a line of its own over a job's error, but not over this
            leave(what)
    else:
        end(folder)
        if single and (folder / FOUND).exists():  # it is shown, and where it is: a folder more would say nothing
            remove_unbegun(folder, Path(config.paths.root))


def _record(folder: Path, what: str, error: BaseException, overrides: Sequence[str], started: float) -> None:
    note_in_log(what)
    record_failure(folder, what, error, overrides, started)
    end(folder)
