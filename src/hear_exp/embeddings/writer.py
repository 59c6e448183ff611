"""Writes a cache entry batch by batch, so that a run killed at any point goes on where it stopped.

``partial/`` holds the rows so far in the order they were computed, and the journal: a batch's line is written after its
rows have reached the disk. To finish, the manifest is first written to ``partial/``; from then on every file is
either still there or in its place, which its checksum tells, and the rest is renaming.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import naming, remove_stale, replacing
from .checksums import checksum, file_checksum, read_sealed, write_sealed
from .journal import Batch, journal_line, read_journal
from .manifest import (
    EMBEDDINGS,
    MANIFEST,
    TIMESTAMPS,
    ClipId,
    ClipRows,
    Manifest,
    file_names,
    read_doubts,
    read_manifest,
    row_bytes,
)

log = logging.getLogger(__name__)

_JOURNAL, _DOUBTS = "journal.jsonl", "doubts.json"


class Writer:
    """Appends clips to an entry and finishes it.

    Attributes: ``done`` (the clips that are there, with their rows), ``doubts`` (sentences about the model; None:
    nobody has looked yet).
    """

    def __init__(self, folder: Path, digest: str, dim: int, timestamps: bool):
        self._folder, self._digest, self._dim = folder, digest, dim
        self._partial = folder / "partial"
        self._row_bytes = {name: row_bytes(name, dim) for name in file_names(timestamps)}
        clear_way(self._partial, folder=True)
        self._partial.mkdir(exist_ok=True)
        for path in list(self._partial.iterdir()):
            clear_way(path)
        remove_stale(self._partial)
        self.done: dict[ClipId, ClipRows] = {}
        self.doubts: tuple[str, ...] | None = None
        self._checksums: dict[ClipId, dict[str, str]] = {}
        self._rows = 0
        self._sources = self._resume_finishing()
        if self._sources is None:
            self._resume_batches()
        self._files = {name: (self._partial / name).open("ab") for name in self._row_bytes if not self._sources}
        self._journal = (self._partial / _JOURNAL).open("ab")

    def append(self, split: str, names: Sequence[str], embeddings: np.ndarray, times: np.ndarray | None) -> None:
        """Add a batch: ``embeddings`` float32 (clips, frames, dim), ``times`` milliseconds (clips, frames).

        Raises OSError, naming the file, where it cannot be written; the batches before stay.
        """
        clips, frames, dim = embeddings.shape
        assert self._sources is None
        assert (clips, dim) == (len(names), self._dim)
        assert (times is None) == (TIMESTAMPS not in self._row_bytes)
        rows = {EMBEDDINGS: np.ascontiguousarray(embeddings, dtype="<f4")}
        if times is not None:
            rows[TIMESTAMPS] = np.ascontiguousarray(times, dtype="<f8")
        checksums = {name: tuple(checksum(clip) for clip in rows[name]) for name in self._row_bytes}
        for name, file in self._files.items():
            with naming(self._partial / name):
                file.write(rows[name].data)
                file.flush()
                os.fsync(file.fileno())
        batch = Batch(split, tuple(names), frames, checksums)
        with naming(self._partial / _JOURNAL):
            self._journal.write(journal_line(batch))
            self._journal.flush()
        self._note(batch)

    def note_doubts(self, doubts: Sequence[str]) -> None:
        """Keep sentences about the model, for this run, for one that resumes it, and for those that use the entry."""
        self.doubts = tuple(doubts)
        write_sealed(self._partial / _DOUBTS, {"doubts": list(doubts)})

    def close(self) -> None:
        """Close the files; what was appended stays for the next run."""
        for file in (*self._files.values(), self._journal):
            # What was appended has been flushed; after a write that failed closing fails again, and says less.
            with contextlib.suppress(OSError):
                file.close()

    def finish(self, order: Sequence[ClipId]) -> None:
        """Put the rows into ``order`` (the clips of a split together), leave out others, and write the manifest."""
        self.close()
        if self._sources is None:
            self._sources = self._prepare(order)
        for name, source in self._sources.items():
            if source.parent != self._folder:
                os.replace(source, self._folder / name)
        os.replace(self._partial / MANIFEST, self._folder / MANIFEST)
        shutil.rmtree(self._partial, ignore_errors=True)

    def _prepare(self, order: Sequence[ClipId]) -> dict[str, Path]:
        """Write the manifest to be; returns where each data file is, its rows in order."""
        assert set(order) <= set(self.done)
        start, splits = 0, dict[str, list[ClipRows]]()
        in_order = True
        for split, name in order:
            there = self.done[split, name]
            splits.setdefault(split, []).append(ClipRows(name, start, there.count))
            in_order = in_order and there.start == start
            start += there.count
        assert list(order) == [(split, clip.name) for split, clips in splits.items() for clip in clips]
        sources = {name: self._partial / name for name in self._row_bytes}
        if not in_order or start != self._rows:
            sources = {name: self._ordered(name, order) for name in sources}
        manifest = Manifest(
            key=self._digest,
            dim=self._dim,
            timestamps=TIMESTAMPS in self._row_bytes,
            splits={split: tuple(clips) for split, clips in splits.items()},
            checksums={name: file_checksum(self._checksums[clip][name] for clip in order) for name in sources},
            doubts=self.doubts or (),
        )
        manifest.write(self._partial / MANIFEST)
        return sources

    def _ordered(self, name: str, order: Sequence[ClipId]) -> Path:
        shape = (self._rows, self._row_bytes[name])
        rows = np.memmap(self._partial / name, dtype=np.uint8, mode="r", shape=shape)
        with replacing(_ordered_path(self._partial / name), "wb") as file:
            for clip in order:
                at = self.done[clip]
                file.write(rows[at.start : at.start + at.count].data)
        return _ordered_path(self._partial / name)

    def _resume_finishing(self) -> dict[str, Path] | None:
        """Where the data files are, if an earlier run had begun to finish; None: it had not, or they are damaged."""
        path = self._partial / MANIFEST
        if not path.exists():
            return None
        try:
            manifest = read_manifest(path, self._digest)
            if (manifest.dim, manifest.timestamps) != (self._dim, TIMESTAMPS in self._row_bytes):
                raise UserError(f"{path}: embeddings of another shape")
            sources = {name: self._whole(name, manifest) for name in self._row_bytes}
        except UserError as error:
            log.warning("damaged embedding cache: %s; finishing it anew", error)
            path.unlink()
            return None
        self.done = {(split, clip.name): clip for split, clip in manifest.clips()}
        self.doubts = manifest.doubts
        return sources

    def _whole(self, name: str, manifest: Manifest) -> Path:
        """The data file, wherever the renaming has left it; its checksum tells the right one."""
        places = (_ordered_path(self._partial / name), self._partial / name, self._folder / name)
        faults = [manifest.fault(name, place) for place in places]
        if None not in faults:
            raise UserError("; ".join(str(fault) for fault in faults))
        return places[faults.index(None)]

    def _resume_batches(self) -> None:
        journal = self._partial / _JOURNAL
        kept = read_journal(journal, self._row_bytes)
        with replacing(journal, "wb") as file:  # a run killed here loses no line
            file.writelines(line for line, _ in kept)
        for _, batch in kept:
            self._note(batch)
        for name, size in self._row_bytes.items():
            with (self._partial / name).open("ab") as file:
                file.truncate(self._rows * size)
        if kept and (self._partial / _DOUBTS).exists():
            with contextlib.suppress(UserError, ValueError):  # else the model is tried again
                self.doubts = read_doubts(read_sealed(self._partial / _DOUBTS).get("doubts"))

    def _note(self, batch: Batch) -> None:
        for i, name in enumerate(batch.names):
            self.done[batch.split, name] = ClipRows(name, self._rows, batch.frames)
            self._checksums[batch.split, name] = {file: values[i] for file, values in batch.checksums.items()}
            self._rows += batch.frames


def clear_way(path: Path, folder: bool = False) -> None:
    """Remove what is not a regular file (a folder) under the name of one: opening a pipe would wait without end."""
    if path.is_dir() and not folder:
        shutil.rmtree(path)
    elif not path.is_dir() and os.path.lexists(path) and (folder or not path.is_file()):
        path.unlink()


def _ordered_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.ordered")
