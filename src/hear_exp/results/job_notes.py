"""How a job ended that has no result of its own: its result was there already, or it had to embed only."""

from __future__ import annotations

import datetime
from pathlib import Path

from ..cli.run_record import EMBEDDED, FOUND
from ..files import write_json
from .finished import Finished


def write_found(folder: Path, found: Finished) -> None:
    """Say in a job's ``folder`` where its result is."""
    content = {
        "identity": found.result.identity,
        "folder": str(found.folder.resolve()),
        "finished": found.result.finished,
    }
    write_json(Path(folder) / FOUND, {**content, "time": _now()})


def write_embedded(
    folder: Path, *, task: str, model: str, clips: int, computed_clips: int, seconds: float, embedding_key: str
) -> None:
    """Say in a job's ``folder`` what it embedded: ``clips`` of the task, of which it computed ``computed_clips``."""
    content = {"task": task, "model": model, "clips": clips, "computed_clips": computed_clips}
    content |= {"seconds": round(seconds, 3), "embedding_key": embedding_key}
    write_json(Path(folder) / EMBEDDED, {**content, "time": _now()})


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
