"""How far a job of a sweep is, from what its folder holds; quick enough to ask a thousand of them at once."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ..errors import UserError
from ..files import read_json, write_json
from .run_record import EMBEDDED, ERROR, FOUND, RESULT, RUNNING

SUBMITTED, LOG = ".submitted.json", "run.log"
SWEEPING = ".sweeping"  # in a sweep's folder, locked by the process that launches its jobs
JUST_BEGUN_S = 5.0  # the mark of a run this young may not be locked yet
DONE = ("finished", "found", "embedded")  # nothing is left to do
KILLED = "killed: its process ended without a word (out of memory, a time limit, or kill -9)"


@dataclass(frozen=True)
class Submitted:
    """A job that was handed to a scheduler: ``kind`` slurm or local, its id there, the scheduler's log of it.

    ``host`` is the machine that handed it over; the id of a local job, a process, means nothing on another.
    """

    kind: str
    id: str
    log: str
    host: str


@dataclass(frozen=True)
class JobState:
    """``state`` is pending, submitted, running, finished, found, embedded or failed.

    ``outcome``: the score, the sentence it failed with, or nothing yet. ``seconds``: how long it took, where that is
    known. ``log``: the file to look into, where there is one.
    """

    state: str
    outcome: str = ""
    seconds: float | None = None
    log: Path | None = None

    @property
    def done(self) -> bool:
        """Whether the job ended well."""
        return self.state in DONE


def job_state(folder: Path, queue: Mapping[str, str] | None = None) -> JobState:
    """The state of the job in ``folder``, which need not exist yet.

    ``queue``: ids and states of the jobs that Slurm has now (``slurm.queue``), asked once for a whole sweep. Without
    it a job that was handed to Slurm and is neither running nor ended counts as submitted.
    """
    folder = Path(folder)
    submitted = read_submitted(folder)
    log = _log(folder, submitted)
    for name, described in ((RESULT, _result), (FOUND, _found), (EMBEDDED, _embedded)):
        if (folder / name).exists():
            with contextlib.suppress(UserError, KeyError, TypeError, ValueError, AttributeError):
                return JobState(*described(folder), log)
    if mark := _running_since(folder):
        if mark.alive:
            return JobState("running", "", round(time.time() - mark.since, 1), log)
        if not _is_queued(submitted, queue):
            return JobState("failed", KILLED, None, log)
    elif (folder / ERROR).exists():
        with contextlib.suppress(UserError, KeyError, TypeError, ValueError):
            error = read_json(folder / ERROR)
            return JobState("failed", str(error["sentence"]), _seconds(error["seconds"]), log)
    if submitted is not None:
        if _is_queued(submitted, queue):
            return JobState("submitted", "", None, log)
        return JobState("failed", "ended without a word, and left nothing behind", None, log)
    if not (folder / ".hydra").exists():
        return JobState("pending")
    if is_locked(folder.parent / SWEEPING):  # composed, and its process is loading what it needs
        return JobState("running", "", None, log)
    return JobState("failed", "ended before it had begun, without a word", None, log)


def read_submitted(folder: Path) -> Submitted | None:
    """What a launcher left in a job's folder when it handed the job to a scheduler; None where it did not."""
    path = Path(folder) / SUBMITTED
    if not path.exists():
        return None
    with contextlib.suppress(UserError, KeyError, TypeError):
        content = read_json(path)
        return Submitted(*(str(content[name]) for name in ("kind", "id", "log", "host")))
    return None


def write_submitted(folder: Path, kind: str, job_id: str, log: Path) -> Path:
    """Note in a job's ``folder``, made where it is missing, that a scheduler has it; returns the note's path."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    content = {"kind": kind, "id": job_id, "log": str(log), "host": socket.gethostname()}
    return write_json(Path(folder) / SUBMITTED, content)


def is_locked(path: Path) -> bool:
    """Whether a process, on whichever machine, holds the lock file ``path``; False where that cannot be known."""
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):  # some file systems have no locks
        return False
    lock.release()
    return False


@dataclass(frozen=True)
class _Mark:
    since: float
    alive: bool


def _running_since(folder: Path) -> _Mark | None:
    try:
        since = (folder / RUNNING).stat().st_mtime
    except OSError:
        return None
    return _Mark(since, time.time() - since < JUST_BEGUN_S or is_locked(folder / RUNNING))


def _is_queued(submitted: Submitted | None, queue: Mapping[str, str] | None) -> bool:
    if submitted is None:
        return False
    if submitted.kind == "slurm":
        return queue is None or submitted.id in queue
    return submitted.host != socket.gethostname() or _process_lives(submitted.id)


def _process_lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True  # another person's
    return True


def _log(folder: Path, submitted: Submitted | None) -> Path | None:
    if (folder / LOG).exists():
        return folder / LOG
    return Path(submitted.log) if submitted is not None else None


def _result(folder: Path) -> tuple[str, str, float | None]:
    result = read_json(folder / RESULT)
    return "finished", _score(result), float(sum(result["seconds"].values()))


def _found(folder: Path) -> tuple[str, str, float | None]:
    where = Path(str(read_json(folder / FOUND)["folder"]))
    try:
        return "found", _score(read_json(where / RESULT)), None
    except UserError:
        return "found", f"the result in {where}, which is gone", None


def _embedded(folder: Path) -> tuple[str, str, float | None]:
    content = read_json(folder / EMBEDDED)
    text = f"{int(content['clips'])} clips, {int(content['computed_clips'])} of them computed"
    return "embedded", text, _seconds(content["seconds"])


def _score(result: Any) -> str:
    score = result["score"]
    return f"{result['primary_metric']} {f'{score:.4f}' if isinstance(score, float) else score}"


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
