"""Hydra's edge: finds conf/, composes the config, and turns errors into sentences.

Nothing heavy is imported here, so that --help and a typing mistake answer at once.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .arguments import flags_first
from .choices import Choices, choices_of_job
from .configs import conf_dir
from .sentences import EXPECTED, is_expected, sentence

log = logging.getLogger(__name__)
Job = Callable[[dict[str, Any], Path, Choices], Any]

OURS = (".hydra", "run.log", "metrics.csv", "plots", "predictions", "parts")  # what a failed run may leave behind


def start(job: Job, config_name: str = "config") -> None:
    """Run ``job(config, run_folder, choices)`` under Hydra on conf/CONFIG_NAME.yaml; a failure ends the process.

    A user's mistake is one sentence on stderr and status 1, without a traceback unless HYDRA_FULL_ERROR is set.
    """
    OmegaConf.register_new_resolver("run_id", lambda: secrets.token_hex(2), use_cache=True, replace=True)
    full = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own version of a traceback

    # Slurm's and `timeout`'s way to end a job; as an exception it closes the wandb run and stops the workers.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))

    def task(config: DictConfig) -> None:
        _run_job(job, config, full)

    sys.argv[1:] = flags_first(sys.argv[1:])
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(task)()
    except KeyboardInterrupt:
        _leave("interrupted; finished parts (embedded clips, downloads) are kept, and the same command uses them", 130)
    except Exception as error:
        if full or not is_expected(error):
            raise
        _leave(sentence(error), 1)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "1" if full else "0"


def _run_job(job: Job, config: DictConfig, show_traceback: bool) -> None:
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        job(plain, folder, choices_of_job())  # type: ignore[arg-type]
    except EXPECTED as error:
        single = settings.mode == RunMode.RUN and not show_traceback
        if not single:
            log.error("%s", sentence(error))  # before the folder goes, which the log file may be opened in
        _remove_run(folder, Path(config.paths.root))
        # Hydra writes a line of its own over a job's error: right in a sweep, which goes on with the other jobs.
        if single:
            _leave(sentence(error), 1)
        raise


def _remove_run(folder: Path, root: Path) -> None:
    """Remove a run that found nothing out: a folder in runs/ is a run. What is not ours stays."""
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for empty in (folder, *folder.parents):
        if empty.resolve() == root.resolve():
            return
        try:
            empty.rmdir()
        except OSError:
            return


def _folder_name(path: str | None, up: int = 0) -> str:
    """Name of a folder, or of the one ``up`` levels above it."""
    names = Path(path).resolve().parts[:0:-1] if path else ()
    return names[up] if up < len(names) else "heareval"


# Not in start(), which a Slurm job does not run: it is handed an unresolved config and imports this module.
OmegaConf.register_new_resolver("folder_name", _folder_name, replace=True)


def _leave(message: str, status: int) -> None:
    print(f"hear_exp: {message}", file=sys.stderr)
    raise SystemExit(status)
