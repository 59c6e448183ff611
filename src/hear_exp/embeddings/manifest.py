"""What a whole cache entry holds: its files' names, where each clip's rows are, checksums, doubts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import json_digest
from .checksums import fault, read_sealed, write_sealed

EMBEDDINGS, TIMESTAMPS = "embeddings.f32", "timestamps.f64"
MANIFEST = "manifest.json"
ClipId = tuple[str, str]  # (split, clip name)


@dataclass(frozen=True)
class ClipRows:
    """Where a clip's rows are: ``count`` rows from ``start``."""

    name: str
    start: int
    count: int


@dataclass(frozen=True)
class Embeddings:
    """A whole cache entry. Cheap to pickle: workers open the file and share its pages.

    ``doubts``: sentences about the model that computed it, which hold for every run that uses the entry. ``content``:
    digest of its bytes, which two entries of one key do not share where a model gives other embeddings each time.
    """

    folder: Path
    key: str
    dim: int
    rows: int
    splits: Mapping[str, tuple[ClipRows, ...]]
    has_timestamps: bool
    doubts: tuple[str, ...] = ()
    content: str = ""

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


def file_names(timestamps: bool) -> tuple[str, ...]:
    """The data files of an entry, with timestamps or without."""
    return (EMBEDDINGS, TIMESTAMPS) if timestamps else (EMBEDDINGS,)


def row_bytes(name: str, dim: int) -> int:
    """Bytes of a row in the data file ``name``."""
    return {EMBEDDINGS: dim * 4, TIMESTAMPS: 8}[name]


@dataclass(frozen=True)
class Manifest:
    """The last file of an entry: with it the entry is whole.

    ``splits``: each split's clips in row order, all rows one after another; ``checksums``: of each data file.
    """

    key: str
    dim: int
    timestamps: bool
    splits: Mapping[str, tuple[ClipRows, ...]]
    checksums: Mapping[str, str]
    doubts: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows of all splits."""
        return sum(clip.count for _, clip in self.clips())

    def clips(self) -> Iterator[tuple[str, ClipRows]]:
        """(split, clip) in row order."""
        return ((split, clip) for split, clips in self.splits.items() for clip in clips)

    def fault(self, name: str, path: Path) -> str | None:
        """What is wrong with ``path`` as this entry's data file ``name``; None: nothing."""
        size = row_bytes(name, self.dim)
        return fault(path, [clip.count * size for _, clip in self.clips()], self.checksums[name])

    def embeddings(self, folder: Path) -> Embeddings:
        """The entry in ``folder``, as the rest of the program sees it."""
        content = json_digest(dict(self.checksums))[:16]
        return Embeddings(folder, self.key, self.dim, self.rows, self.splits, self.timestamps, self.doubts, content)

    def write(self, path: Path) -> None:
        """Write it, atomically."""
        splits = {s: [[clip.name, clip.start, clip.count] for clip in clips] for s, clips in self.splits.items()}
        content = {"key": self.key, "dim": self.dim, "rows": self.rows, "timestamps": self.timestamps}
        content |= {"splits": splits, "checksums": dict(self.checksums), "doubts": list(self.doubts)}
        write_sealed(path, content)


def read_manifest(path: Path, key: str) -> Manifest:
    """The manifest of the entry with this key. Raises UserError for anything that ``write`` did not write."""
    content = read_sealed(path)
    try:
        manifest = Manifest(
            key=content["key"],
            dim=_count(content["dim"]),
            timestamps=_of_type(content["timestamps"], bool),
            splits=_splits(_of_type(content["splits"], dict)),
            checksums=_of_type(content["checksums"], dict),
            doubts=read_doubts(content["doubts"]),
        )
        if manifest.key != key:
            raise ValueError(f"it belongs to the key {manifest.key!r}, not {key}")
        if not manifest.rows or manifest.rows != content["rows"]:
            raise ValueError(f"clips of {manifest.rows} rows, but rows is {content['rows']!r}")
        for name in file_names(manifest.timestamps):
            _of_type(manifest.checksums[name], str)
    except KeyError as error:
        raise UserError(f"{path}: {error} is missing") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return manifest


def read_doubts(content: Any) -> tuple[str, ...]:
    """Doubts as JSON holds them. Raises ValueError for anything but a list of strings."""
    return tuple(_of_type(doubt, str) for doubt in _of_type(content, list))


def _splits(content: Mapping[str, Any]) -> dict[str, tuple[ClipRows, ...]]:
    start, splits = 0, {}
    for split, rows in content.items():
        clips = []
        for row in _of_type(rows, list):
            name, first, count = _of_length(row, 3)
            if type(first) is not int or first != start:
                raise ValueError(f"the rows of {name!r} begin at {first!r}, expected {start}")
            clips.append(ClipRows(_of_type(name, str), start, _count(count)))
            start += count
        if not clips:
            raise ValueError(f"the split {split} has no clips")
        splits[split] = tuple(clips)
    return splits


def _of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"expected a {kind.__name__}, got {str(value)[:40]!r}")
    return value


def _of_length(value: Any, length: int) -> Sequence[Any]:
    if type(value) is not list or len(value) != length:
        raise ValueError(f"expected a list of {length}, got {str(value)[:40]!r}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"expected a whole number above 0, got {str(value)[:40]!r}")
    return value
