"""Whether a run has begun, is alive, or failed: .running while it works, error.json where it failed.

A run *begins* when everything that can be checked beforehand has been, and the work of hours may start. One that
fails before leaves nothing behind (a job of a sweep its error.json); one that fails later keeps what it wrote.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import shlex
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import filelock

from ..files import write_json

log = logging.getLogger(__name__)

RUNNING, ERROR, RESULT = ".running", "error.json", "result.json"
FOUND, EMBEDDED = "found.json", "embedded.json"  # its result was there already; it had to embed only
OURS = (".hydra", "run.log", "metrics.csv", "plots", "predictions", "parts", FOUND)  # what a run may leave behind
SETTLED_S = 60.0  # a mark younger than this may not be locked yet
_held: dict[Path, filelock.BaseFileLock] = {}


def begin(folder: Path) -> None:
    """Mark the run in ``folder`` as begun. The mark is locked as long as this process lives, on whichever machine."""
    lock = filelock.FileLock(Path(folder) / RUNNING)
    with contextlib.suppress(filelock.Timeout, OSError, NotImplementedError):  # some file systems have no locks
        lock.acquire(timeout=0)
        _held[Path(folder).resolve()] = lock
    (Path(folder) / RUNNING).touch()


def has_begun(folder: Path) -> bool:
    """Whether the run in ``folder`` has begun and not ended."""
    return (Path(folder) / RUNNING).exists()


def has_ended_well(folder: Path) -> bool:
    """Whether the run in ``folder`` has its result, has found it elsewhere, or has embedded what it had to."""
    return any((Path(folder) / name).exists() for name in (RESULT, FOUND, EMBEDDED))


def end(folder: Path) -> None:
    """Take the mark away: the run has ended, well or with an error.json. What an earlier attempt failed with goes."""
    folder = Path(folder)
    if lock := _held.pop(folder.resolve(), None):
        lock.release()
    (folder / RUNNING).unlink(missing_ok=True)
    if has_ended_well(folder):
        (folder / ERROR).unlink(missing_ok=True)


def record_failure(
    folder: Path, sentence: str, error: BaseException | None, overrides: Sequence[str], started: float
) -> None:
    """Write error.json: what a person would read, and for an error of ours the traceback. Never raises.

    ``started`` is the time the run started, in seconds since 1970; ``error`` None: its process was killed.
    """
    now = time.time()
    content = {
        "sentence": sentence,
        "type": type(error).__name__ if error else None,
        "time": datetime.datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds"),
        "seconds": round(now - started, 1),
        "host": socket.gethostname() if error else None,
        "command": shlex.join(sys.orig_argv) if error else None,
        "overrides": list(overrides),
        "traceback": "".join(traceback.format_exception(error)) if error else None,
    }
    with contextlib.suppress(OSError):  # a full disk is what many a run fails with
        write_json(Path(folder) / ERROR, content)


def note_in_log(sentence: str) -> None:
    """Write a sentence into the run's log file, but not on the console, where it is said elsewhere."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (sentence,), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def remove_unbegun(folder: Path, root: Path) -> None:
    """Remove a run that never began: a folder in runs/ is a run. What is not ours stays."""
    _close_log(folder)
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


def _close_log(folder: Path) -> None:
    """Take the folder's log file off the loggers: what is logged from here on has no place to go to."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder.resolve():
            root.removeHandler(handler)
            handler.close()


def settle_killed(runs: Path) -> list[Path]:
    """Give each run under ``runs`` whose process is gone without a word an error.json; returns their folders."""
    gone = []
    for mark in sorted(Path(runs).glob(f"*/*/*/{RUNNING}")):
        with contextlib.suppress(OSError, NotImplementedError, filelock.Timeout):  # Timeout: it is alive
            started = mark.stat().st_mtime
            if time.time() - started < SETTLED_S:
                continue
            lock = filelock.FileLock(mark)
            lock.acquire(timeout=0)
            try:
                if not has_ended_well(mark.parent):
                    what = "killed: its process ended without a word (out of memory, a time limit, or kill -9)"
                    record_failure(mark.parent, what, None, (), started)
                    gone.append(mark.parent)
            finally:
                lock.release()
                mark.unlink(missing_ok=True)
    return gone
