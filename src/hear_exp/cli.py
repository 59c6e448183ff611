"""Hydra's edge: finds conf/, composes the config, and turns errors into sentences.

Nothing heavy is imported here, so that --help and a typing mistake answer at once.
"""

from __future__ import annotations

import difflib
import errno
import logging
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .arguments import flags_first
from .errors import UserError

log = logging.getLogger(__name__)
Job = Callable[[dict[str, Any], Path, list[str]], Any]

EXPECTED = (UserError, HydraException, OmegaConfBaseException)  # mistakes in what was typed or is on disk
OURS = (".hydra", "run.log", "metrics.csv", "plots", "predictions", "parts")  # what a failed run may leave behind


def conf_dir() -> Path:
    """The folder of configs: inside the package in a wheel, beside src/ in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def shipped(group: str, name: str) -> dict[str, Any]:
    """A config file of ours as it is shipped, its own defaults merged in; empty for one that is not ours."""
    path = conf_dir() / group / f"{name}.yaml"
    if not path.is_file():
        return {}
    content = _plain(path)
    merged: dict[str, Any] = {}
    for default in content.pop("defaults", []):
        if default != "_self_":
            merged |= shipped(group, default)
    return merged | content


def chosen_groups() -> dict[str, str]:
    """The config files that the running job does not take from config.yaml's defaults: {'model': 'crepe'}."""
    usual: dict[str, Any] = {}
    for default in _plain(conf_dir() / "config.yaml")["defaults"]:
        usual |= default if isinstance(default, dict) else {}
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {group: str(name) for group, name in chosen.items() if group in usual and name != usual[group]}


def chosen_options(overrides: list[str], group: str) -> list[str]:
    """Names in ``group`` that the command line sets: ['lr'] for 'predictor.lr=1e-3' and group 'predictor'."""
    found = (re.match(rf"\+{{0,2}}{group}\.(\w+)=", override) for override in overrides)
    return [match.group(1) for match in found if match]


def start(job: Job, config_name: str = "config") -> None:
    """Run ``job(config, run_folder, overrides)`` under Hydra on conf/CONFIG_NAME.yaml; a failure ends the process.

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
        if full or not (isinstance(error, EXPECTED) or _unwritable(error) or type(error).__name__ == "FailedJobError"):
            raise
        _leave(sentence(error), 1)


def sentence(error: Exception) -> str:
    """What went wrong, in a line or two for the person who typed the command."""
    if isinstance(error, UserError):
        return str(error)
    if type(error).__name__ == "FailedJobError":  # submitit's: a job's traceback as text
        last = str(error).strip().splitlines()[-1]
        return f"a job failed: {last.removeprefix('hear_exp.errors.UserError: ')}"
    if isinstance(error, OSError) and _unwritable(error):
        return f"cannot write {error.filename}: {error.strerror}; choose another folder with paths.root=FOLDER"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith(("full_key", "object_type", "See ")))
    if match := re.match(r"Could not override '([^']+)'", text):
        return f"unknown option: {match.group(1)}{_near(match.group(1))}; python -m hear_exp --help lists all"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, name = match.group(1).partition("/")
        options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        return f"there is no {group} called {name!r}; choose one of: {', '.join(options)}" if options else text
    return text


def _run_job(job: Job, config: DictConfig, show_traceback: bool) -> None:
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        job(plain, folder, list(settings.overrides.task))  # type: ignore[arg-type]
    except EXPECTED as error:
        single = settings.mode == RunMode.RUN and not show_traceback
        if not single:
            log.error("%s", sentence(error))  # before the folder goes, which the log file may be opened in
        _remove_run(folder, Path(config.paths.root))
        # Hydra writes a line of its own over a job's error: right in a sweep, which goes on with the other jobs.
        if single:
            _leave(sentence(error), 1)
        raise


def _unwritable(error: Exception) -> bool:
    """Whether the file system refused to write: read-only, not allowed, full, or a file where a folder should be."""
    refusals = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT, errno.EEXIST)
    return isinstance(error, OSError) and error.errno in refusals and bool(error.filename)


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


def _near(option: str) -> str:
    """', did you mean X?' for an option close to an existing one."""
    group, _, name = option.rpartition(".")
    config = _plain(conf_dir() / "config.yaml")
    known = {str(key) for key in config} | {path.name for path in conf_dir().iterdir() if path.is_dir()}
    if group:
        contents = [_plain(file) for file in (conf_dir() / group).glob("*.yaml")]
        known = set(config.get(group) or {key for content in contents for key in content.get(group, content)})
    close = difflib.get_close_matches(name, sorted(known - {"defaults", name}), n=1)
    return f", did you mean {group + '.' if group else ''}{close[0]}?" if close else ""


def _plain(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _leave(message: str, status: int) -> None:
    print(f"hear_exp: {message}", file=sys.stderr)
    raise SystemExit(status)
