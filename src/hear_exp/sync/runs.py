"""The offline runs of wandb below a folder, and which of them are to be uploaded."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..results.wandb_attempts import LOCK, Mark, is_uploaded, read_mark, writing

OFFLINE = "offline-run-*"
QUIET_S = 60.0  # a run that no lock of ours protects is taken for a running one while it is younger than this


@dataclass(frozen=True)
class OfflineRun:
    """The folder of an offline run; ``mark``: it is superseded by another run of its job."""

    folder: Path
    uploaded: bool
    running: bool  # recorded, or uploaded by another process, at this moment
    mark: Mark | None

    @property
    def id(self) -> str:
        """The run's id on wandb, with which its file is named: run-ID.wandb."""
        return next(self.folder.glob("run-*.wandb")).stem.removeprefix("run-")


def find_runs(folders: Iterable[Path]) -> list[OfflineRun]:
    """The offline runs that ``folders`` are, or have in them or in their folder wandb/; each once, by time."""
    found: dict[Path, Path] = {}
    for folder in folders:
        at = [folder] if folder.match(OFFLINE) else [*folder.glob(OFFLINE), *folder.glob(f"wandb/{OFFLINE}")]
        found |= {path.resolve(): path for path in at if any(path.glob("*.wandb"))}
    return [_look(found[path]) for path in sorted(found, key=lambda path: (path.name, path))]


def _look(folder: Path) -> OfflineRun:
    return OfflineRun(folder, is_uploaded(folder), _is_running(folder), read_mark(folder))


def _is_running(folder: Path) -> bool:
    if (folder / LOCK).exists():
        with writing(folder) as free:
            return not free
    # Not recorded by this package, or by an earlier version: only its file's age tells.
    return any(time.time() - path.stat().st_mtime < QUIET_S for path in folder.glob("*.wandb"))
