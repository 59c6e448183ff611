"""A job's attempts on wandb: which run an earlier one left behind, and how it is marked when the job begins again.

RUN/wandb.json names the wandb run of the job's last attempt. A run of wandb is never continued: a second offline folder
with the same id would be lost on upload. So a job that begins again is a new run of the same group, and the old one is
*superseded*: it loses the tag ``current`` and gets ``superseded``. What is on wandb's server already is retagged there;
what lies on this machine gets a file beside it, and is tagged as it is uploaded (``python -m hear_exp.sync``).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ..files import read_json, write_json
from .records import from_json
from .wandb_config import CURRENT, SUPERSEDED

ATTEMPT = "wandb.json"  # in the folder of a job
MARK = "superseded.json"  # in the folder of a wandb run
LOCK = "hear_exp.lock"  # in the folder of a wandb run: held while something is written to it, or it is uploaded


@dataclass(frozen=True)
class Attempt:
    """A wandb run of a job: ``dir`` is its folder on this machine; ``finished``: it has the job's result."""

    id: str
    project: str
    entity: str
    group: str
    mode: str
    dir: str
    finished: bool = False

    @property
    def uploaded(self) -> bool:
        """Whether wandb's server has it, at least in parts: uploaded as it was recorded, or afterwards."""
        return self.mode == "online" or is_uploaded(Path(self.dir))


@dataclass(frozen=True)
class Mark:
    """That a wandb run is superseded ``by`` the run of this id, where it is, and whether wandb's server was told."""

    by: str
    told: bool = False
    project: str = ""
    entity: str = ""


def read_attempt(folder: Path) -> Attempt | None:
    """The wandb run of the last attempt at the job in ``folder``; None where there is none, or its file is damaged."""
    try:
        return from_json(Attempt, read_json(folder / ATTEMPT))
    except ValueError:  # UserError is one
        return None


def write_attempt(folder: Path, attempt: Attempt) -> None:
    """Write RUN/wandb.json."""
    write_json(folder / ATTEMPT, dataclasses.asdict(attempt))


def supersede(old: Attempt, by: str, online: bool) -> None:
    """Mark ``old`` as superseded by the run ``by``; with ``online`` also on wandb's server, where it is there."""
    mark = Mark(by, project=old.project, entity=old.entity)
    if Path(old.dir).is_dir():
        write_mark(Path(old.dir), mark)
    if online and old.uploaded:
        retag(old.project, old.entity, old.id, by)
        if Path(old.dir).is_dir():
            write_mark(Path(old.dir), dataclasses.replace(mark, told=True))


def read_mark(run: Path) -> Mark | None:
    """What the folder of a wandb run says of its being superseded; None where it is not."""
    if not (run / MARK).exists():
        return None
    try:
        return from_json(Mark, read_json(run / MARK))
    except ValueError:  # UserError is one: a damaged file marks it all the same
        return Mark("another run")


def write_mark(run: Path, mark: Mark) -> None:
    """Write superseded.json into the folder of a wandb run."""
    write_json(run / MARK, dataclasses.asdict(mark))


def retag(project: str, entity: str, id: str, by: str) -> None:
    """Tag a run on wandb's server as superseded by ``by``. Raises what wandb does, where it cannot be reached."""
    import wandb

    # Its attributes are those that the server sends.
    run: Any = wandb.Api(timeout=30).run("/".join(part for part in (entity, project, id) if part))
    run.tags = [*(tag for tag in run.tags if tag not in (CURRENT, SUPERSEDED)), SUPERSEDED]
    run.config["run.superseded_by"] = by
    run.update()


def is_uploaded(run: Path) -> bool:
    """Whether ``wandb sync`` has marked the run in this folder as uploaded."""
    return any(run.glob("*.wandb.synced"))


@contextlib.contextmanager
def writing(run: Path) -> Iterator[bool]:
    """Hold a wandb run's folder against other processes; yields False where one writes or uploads it now.

    On a file system without locks nothing is held, and True.
    """
    lock = filelock.FileLock(run / LOCK)
    held = True
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        held = False
    except (OSError, NotImplementedError):
        pass
    try:
        yield held
    finally:
        lock.release()
