"""What config files may compute: a run's number, and names of folders and tasks."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from omegaconf import OmegaConf

from ..errors import UserError
from ..files import read_json

NAME_LIMIT = 80  # characters; file systems take 255 bytes, and a run's folder has more in it


def register() -> None:
    """Make the resolvers known to OmegaConf; a second time does nothing."""
    OmegaConf.register_new_resolver("run_id", lambda: secrets.token_hex(2), use_cache=True, replace=True)
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    OmegaConf.register_new_resolver("task_name", task_name, replace=True)


def folder_name(path: str | None, up: int = 0) -> str:
    """Name of a folder, or of the one ``up`` levels above it."""
    names = Path(path).resolve().parts[:0:-1] if path else ()
    return names[up] if up < len(names) else "heareval"


def task_name(path: str | None) -> str:
    """The name that a task folder gives its task, fit for a folder's name; the folder's where it cannot be read.

    What is wrong with the folder is said when the task is read.
    """
    if not path:
        return "custom"
    name: object = None
    try:
        metadata = read_json(Path(str(path)) / "task_metadata.json")
        name = metadata.get("task_name") if isinstance(metadata, dict) else None
    except UserError:
        pass
    safe = re.sub(r"[^\w.+-]+", "_", name if isinstance(name, str) else folder_name(str(path)))
    return safe.strip("._-")[:NAME_LIMIT] or "custom"
