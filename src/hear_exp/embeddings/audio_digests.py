"""Digests of a task's audio, remembered so that a large task is not read again only to learn that nothing changed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import file_digest, read_json, remove_stale, write_json
from ..tasks.audio import ClipFile, parallel
from ..tasks.folder import Task

log = logging.getLogger(__name__)


def audio_digests(files: Sequence[ClipFile], folder: Path, task: Task) -> list[str]:
    """SHA-256 of each file.

    The cache key holds the content, so that a copied or touched task still finds its embeddings. What is trusted: a
    file under the same name and with the same size, modification time, change time, inode and device as when it was
    read has the content that it had. The change time is the system's, which ``cp -p`` and ``rsync -t`` cannot set.

    The memory is a file in ``folder`` for each task folder, sample rate and device (a network file system's device has
    another number on each machine). It is replaced as a whole: of two processes that write it the last one wins.
    """
    root = task.folder.resolve()
    place = hashlib.sha256(f"{root} {root.stat().st_dev}".encode(errors="surrogateescape")).hexdigest()[:16]
    memory = folder / f"{place}-{files[0].sample_rate}.json"
    known = _read(memory)
    marks = [_mark(file.path.stat()) for file in files]  # before reading: a file changed meanwhile is read again
    names = [f"{file.split}/{file.name}" for file in files]

    def digest(i: int) -> str:
        mark, value = known.get(names[i], ("", ""))
        return value if mark == marks[i] else file_digest(files[i].path)

    digests = list(parallel(digest, range(len(files))))
    fresh = {name: (mark, value) for name, mark, value in zip(names, marks, digests, strict=True)}
    if fresh != known:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_stale(folder)
            write_json(memory, {name: list(entry) for name, entry in fresh.items()}, indent=None)
        except OSError as error:  # embeddings in a folder that this user may only read can still be used
            log.info("the audio will be read again by the next run: %s", error)
    return digests


def _mark(status: os.stat_result) -> str:
    """What tells a file's content from an earlier one without reading it."""
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{status.st_size} {times} {status.st_ino} {status.st_dev}"


def _read(memory: Path) -> dict[str, tuple[str, str]]:
    """The memory's entries that are whole; none where it is absent or damaged."""
    try:
        content: Any = read_json(memory)
    except UserError:
        return {}
    pairs = content.items() if isinstance(content, dict) else ()
    return {name: (pair[0], pair[1]) for name, pair in pairs if _is_pair(pair)}


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair) and len(pair[1]) == 64
