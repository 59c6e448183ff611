"""What a wandb run is known by and filtered with: its config and tags, in names and text that wandb takes."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import hear_exp

from ..cli.sweep_manifest import MANIFEST
from ..files import json_digest
from ..safe_text import one_line
from .git_commit import commit_of
from .task_id import TaskId
from .wandb_logger import NAME_LENGTH

TAG_LENGTH = 64  # wandb refuses longer tags, and the upload of a run that has one
OF_A_SWEEP = (MANIFEST, "multirun.yaml")  # our file in the folder of a sweep, and Hydra's
SWEEP_DEPTH = 3  # folders above a job's in which its sweep is looked for
CURRENT, SUPERSEDED = "current", "superseded"  # tags: of a job's last attempt, and of one that was begun again


def run_config(config: Mapping[str, Any], task: TaskId, folder: Path) -> dict[str, Any]:
    """The composed ``config`` with dotted names, and what it does not say: task, sweep, folder and git commits."""
    found = flat(config)
    found |= {f"task_{name}": value for name, value in dataclasses.asdict(task).items()}
    about = (config.get("task") or {}).get("about") or {}
    # Names without a dot besides those with one, which wandb's filters do not take.
    found |= {f"task_{name}": about[name] for name in ("domain", "kind") if name in about}
    found |= {
        f"{name}_name": found[f"{name}.name"] for name in ("model", "protocol", "predictor") if f"{name}.name" in found
    }
    found |= {name: sweep_id(folder) for name in ("sweep.id", "sweep_id")}
    found |= {"run.folder": str(folder), **_commits(config)}
    return {clean(name): clean(value) for name, value in found.items()}


def run_tags(chosen: Iterable[str], config: Mapping[str, Any], task: TaskId, folder: Path) -> list[str]:
    """The tags that a person chose, then sweep, task, domain, kind, protocol and predictor, as far as there are any."""
    groups = {name: config.get(name) or {} for name in ("task", "protocol", "predictor")}
    about = groups["task"].get("about") or {}
    own = [sweep_id(folder), task.name, about.get("domain"), about.get("kind")]
    own += [groups["protocol"].get("name"), groups["predictor"].get("name")]
    tags = [limited(one_line(str(tag).strip()), TAG_LENGTH) for tag in (*chosen, CURRENT, *own) if tag is not None]
    return [tag for tag in dict.fromkeys(tags) if tag]


def sweep_id(folder: Path) -> str:
    """The name of the sweep's folder that a run's ``folder`` is in; '' for a run of its own."""
    near = list(folder.resolve().parents)[:SWEEP_DEPTH]
    return next((parent.name for parent in near if any((parent / name).is_file() for name in OF_A_SWEEP)), "")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config with dotted names: {"predictor": {"lr": 1}} -> {"predictor.lr": 1}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value) if isinstance(value, Path) else value
    return found


def limited(name: str, length: int = NAME_LENGTH) -> str:
    """``name``, cut where wandb would refuse it; names that differ after the cut still differ."""
    return name if len(name) <= length else f"{name[: length - 9]}-{json_digest(name)[:8]}"


def clean(value: Any) -> Any:
    """``value``, its texts with what UTF-8 cannot hold spelt out, as a path may have it: a\\udcff."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, Mapping):
        return {clean(name): clean(item) for name, item in value.items()}
    return value


def _commits(config: Mapping[str, Any]) -> dict[str, Any]:
    """The git commits of this package and of the model's, where they are in checkouts."""
    files = {"git": Path(hear_exp.__file__), "git.model": _file_of((config.get("model") or {}).get("module"))}
    found: dict[str, Any] = {}
    for name, file in files.items():
        if file is not None and (commit := commit_of(file)) is not None:
            found |= {f"{name}.commit": commit.id, f"{name}.changed": commit.changed}
    return found


def _file_of(module: Any) -> Path | None:
    """The file of a model's module, None where that is unknown, and for one of this package's."""
    name = str(module or "")
    if name.partition(".")[0] in ("", hear_exp.__name__):
        return None
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        try:
            spec = importlib.util.find_spec(name.partition(".")[0])
        except (ImportError, ValueError):
            return None
        file = spec and spec.origin
    return Path(file) if file else None
