"""Embeddings on disk under a key: written clip by clip, resumable, whole only once the manifest is there.

An entry is a folder ``ROOT/TASK/MODEL-HASH`` with

    embeddings.f32   little-endian float32, (rows, dim), the rows of a clip together
    timestamps.f64   event tasks: each row's centre in milliseconds
    key.json         everything that decides the bytes; HASH is its digest
    manifest.json    written last: dim, and per split each clip's first row and number of rows

While it is being computed the entry holds ``partial/`` instead: the rows so far in the order they were
computed, and a journal with a line a batch. The journal's line is written after its rows have reached the disk,
so a killed run resumes after the last line.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

log = logging.getLogger(__name__)

EMBEDDINGS, TIMESTAMPS = "embeddings.f32", "timestamps.f64"
ClipId = tuple[str, str]  # (split, clip name)


@dataclass(frozen=True)
class ClipRows:
    """Where a clip's rows are: ``count`` rows from ``start``."""

    name: str
    start: int
    count: int


@dataclass(frozen=True)
class Embeddings:
    """A whole cache entry. Cheap to pickle: workers open the file and share its pages."""

    folder: Path
    key: str
    dim: int
    rows: int
    splits: Mapping[str, tuple[ClipRows, ...]]
    has_timestamps: bool

    def array(self) -> np.ndarray:
        """All embeddings, float32 (rows, dim), mapped copy-on-write: nothing is read before it is used."""
        return np.memmap(self.folder / EMBEDDINGS, dtype="<f4", mode="c", shape=(self.rows, self.dim))

    def timestamps_ms(self) -> np.ndarray:
        """Centres of all rows in milliseconds, float64 (rows,); event tasks only."""
        assert self.has_timestamps
        return np.fromfile(self.folder / TIMESTAMPS, dtype="<f8")

    def split_range(self, split: str) -> range:
        """The rows of a split, which are contiguous."""
        clips = self.splits[split]
        return range(clips[0].start, clips[-1].start + clips[-1].count)


def key_digest(key: Mapping[str, Any]) -> str:
    """Digest of a key: SHA-256 of its JSON with sorted names, 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


class Entry:
    """One entry of the cache, whole or not."""

    def __init__(self, root: Path, task: str, model: str, key: Mapping[str, Any]):
        self.key = json.loads(json.dumps(key))
        self.digest = key_digest(key)
        self.folder = Path(root) / _plain(task) / f"{_plain(model)}-{self.digest}"

    def read(self) -> Embeddings | None:
        """The embeddings if the entry is whole, else None."""
        path = self.folder / "manifest.json"
        try:
            manifest = json.loads(path.read_text())
            embeddings = Embeddings(
                folder=self.folder,
                key=self.digest,
                dim=manifest["dim"],
                rows=manifest["rows"],
                splits={split: tuple(ClipRows(*clip) for clip in clips) for split, clips in manifest["splits"].items()},
                has_timestamps=manifest["timestamps"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("damaged embedding cache: %s (%s); computing it again", path, error)
            return None
        expected = {EMBEDDINGS: embeddings.rows * embeddings.dim * 4}
        if embeddings.has_timestamps:
            expected[TIMESTAMPS] = embeddings.rows * 8
        for name, size in expected.items():
            path = self.folder / name
            if not path.exists() or path.stat().st_size != size:
                log.warning("damaged embedding cache: %s is not %d bytes; computing it again", path, size)
                return None
        return embeddings

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the entry against other processes; says so when it has to wait for one."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.info("another process is computing these embeddings; waiting for it (%s)", self.folder)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def writer(self, dim: int, timestamps: bool) -> Writer:
        """A writer that goes on where a killed run stopped. Call it inside ``locked()``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "manifest.json").unlink(missing_ok=True)  # of a damaged entry
        _write_json(self.folder / "key.json", self.key)
        return Writer(self.folder, self.digest, dim, timestamps)


class Writer:
    """Appends clips to an entry and finishes it."""

    def __init__(self, folder: Path, digest: str, dim: int, timestamps: bool):
        self._folder, self._digest, self._dim = folder, digest, dim
        self._partial = folder / "partial"
        self._partial.mkdir(exist_ok=True)
        self.done: dict[ClipId, ClipRows] = {}
        self._rows = 0
        self._names = [EMBEDDINGS, TIMESTAMPS] if timestamps else [EMBEDDINGS]
        self._row_bytes = {EMBEDDINGS: dim * 4, TIMESTAMPS: 8}
        self._resume()
        self._files = {name: (self._partial / name).open("ab") for name in self._names}
        self._journal = (self._partial / "journal.jsonl").open("a")

    def append(self, split: str, names: Sequence[str], embeddings: np.ndarray, times: np.ndarray | None) -> None:
        """Add a batch: ``embeddings`` float32 (clips, frames, dim), ``times`` milliseconds (clips, frames)."""
        clips, frames, dim = embeddings.shape
        assert (clips, dim) == (len(names), self._dim)
        assert (times is None) == (TIMESTAMPS not in self._files)
        self._files[EMBEDDINGS].write(np.ascontiguousarray(embeddings, dtype="<f4").data)
        if times is not None:
            self._files[TIMESTAMPS].write(np.ascontiguousarray(times, dtype="<f8").data)
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._journal.write(json.dumps([split, list(names), frames]) + "\n")
        self._journal.flush()
        self._note(split, names, frames)

    def close(self) -> None:
        """Close the files; what was appended stays for the next run."""
        for file in (*self._files.values(), self._journal):
            file.close()

    def finish(self, order: Sequence[ClipId]) -> None:
        """Put the rows into ``order`` (the clips of a split together) and write the manifest."""
        self.close()
        assert sorted(order) == sorted(self.done)
        start, splits = 0, dict[str, list[list[Any]]]()
        for split, name in order:
            count = self.done[split, name].count
            splits.setdefault(split, []).append([name, start, count])
            start += count
        in_order = all(self.done[split, n].start == s for split, rows in splits.items() for n, s, _ in rows)
        for name in self._names:
            source = self._partial / name
            if not in_order:
                source = self._permute(source, self._row_bytes[name], order)
            os.replace(source, self._folder / name)
        manifest = {
            "key": self._digest,
            "dim": self._dim,
            "rows": start,
            "timestamps": TIMESTAMPS in self._names,
            "splits": splits,
        }
        _write_json(self._folder / "manifest.json", manifest)
        shutil.rmtree(self._partial, ignore_errors=True)

    def _permute(self, source: Path, row_bytes: int, order: Sequence[ClipId]) -> Path:
        rows = np.memmap(source, dtype=np.uint8, mode="r", shape=(self._rows, row_bytes))
        ordered = source.with_name(source.name + ".ordered")
        with ordered.open("wb") as file:
            for clip in order:
                at = self.done[clip]
                file.write(rows[at.start : at.start + at.count].data)
            file.flush()
            os.fsync(file.fileno())
        return ordered

    def _resume(self) -> None:
        journal = self._partial / "journal.jsonl"
        sizes = [
            (self._partial / name).stat().st_size // self._row_bytes[name] if (self._partial / name).exists() else 0
            for name in self._names
        ]
        kept = []
        for line in journal.read_text().splitlines(keepends=True) if journal.exists() else []:
            try:
                split, names, frames = json.loads(line)
            except ValueError:
                break  # the line that was being written when the run was killed
            if not line.endswith("\n") or self._rows + len(names) * frames > min(sizes):
                break
            self._note(split, names, frames)
            kept.append(line)
        temporary = journal.with_name(f"{journal.name}.kept")  # a run killed here loses no line
        temporary.write_text("".join(kept))
        os.replace(temporary, journal)
        for name in self._names:
            with (self._partial / name).open("ab") as file:
                file.truncate(self._rows * self._row_bytes[name])

    def _note(self, split: str, names: Sequence[str], frames: int) -> None:
        for name in names:
            self.done[split, name] = ClipRows(name, self._rows, frames)
            self._rows += frames


def _plain(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name)


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, path)
