"""A task folder in HEAR's layout, written: annotations, audio, and the folder's appearing whole or not at all."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import remove_stale, temporary_name, write_json
from ..progress import progress
from ..scoring.event import Event
from ..tasks.audio import parallel
from .clip_audio import Cut, Written, write_clip
from .recordings import vocabulary
from .rows import Skips


@dataclass(frozen=True)
class Clip:
    """A clip to be written: where its sound comes from, and what the task says of it."""

    cut: Cut
    name: str
    split: str
    labels: tuple[str, ...]  # of an event task: the events' labels, each once
    events: tuple[Event, ...]


@contextmanager
def appearing(target: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to build in, which becomes ``target`` at the end; an error, Ctrl-C or SIGTERM removes it.

    What a process that was killed outright left of it is removed by a later call, when it is old enough.
    """
    building, old = temporary_name(target), temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(target.parent)
        building.mkdir()
    except OSError as error:
        raise UserError(f"cannot write in {target.parent}: {error}") from error
    try:
        yield building
        if overwrite and target.exists():
            os.replace(target, old)
        try:
            os.replace(building, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
    except (UserError, OSError) as error:
        text = str(error) if isinstance(error, UserError) else f"cannot write {target}: {error}"
        raise UserError(text.replace(str(building), str(target))) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_annotations(folder: Path, metadata: Mapping[str, Any], clips: Sequence[Clip]) -> None:
    """Write vocabulary, splits and metadata into ``folder``, in the place of earlier ones."""
    labels = vocabulary(label for clip in clips for label in clip.labels)
    with (folder / "labelvocabulary.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("idx", "label"), *enumerate(labels)])
    for split in metadata["splits"]:
        content = {clip.name: _entry(clip, metadata["embedding_type"]) for clip in clips if clip.split == split}
        write_json(folder / f"{split}.json", content)
    write_json(folder / "task_metadata.json", dict(metadata))


def _entry(clip: Clip, kind: str) -> list[Any]:
    if kind == "scene":
        return list(clip.labels)
    return [{"label": event.label, "start": event.start_ms, "end": event.end_ms} for event in clip.events]


def write_audio(
    folder: Path, clips: Sequence[Clip], rates: Sequence[int], length_s: float | None, scale_peaks: bool, skips: Skips
) -> tuple[list[Clip], list[Written]]:
    """Write the clips of every split at every rate; those that were written, and what became of them.

    Raises UserError, unless they may be skipped, for recordings that cannot be decoded.
    """
    for rate in rates:
        for split in {clip.split for clip in clips}:
            (folder / str(rate) / split).mkdir(parents=True)

    def write(clip: Clip) -> Written | str:
        paths = {rate: folder / str(rate) / clip.split / clip.name for rate in rates}
        try:
            return write_clip(clip.cut, paths, length_s, scale_peaks)
        except UserError as error:
            if not skips.skip:
                raise
            return str(error)

    results = []
    found = parallel(write, clips, 16)
    assert isinstance(found, Generator)
    # Closed on Ctrl-C at once: a thread that went on writing would undo the folder's removal.
    with progress("writing clips", total=len(clips)) as bar, closing(found):
        for result in found:
            results.append(result)
            bar(len(results))
    skips.leave_out("recordings break off or cannot be decoded", [r for r in results if isinstance(r, str)], len(clips))
    pairs = [(clip, result) for clip, result in zip(clips, results, strict=True) if isinstance(result, Written)]
    return [clip for clip, _ in pairs], [result for _, result in pairs]
