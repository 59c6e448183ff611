"""The journal of an entry that is being computed: a line a batch, with the checksums of its rows and of itself."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError
from ..files import check_readable
from .checksums import checksum, clip_checksums

log = logging.getLogger(__name__)

_MARK = 16  # hexadecimal digits of a line's own checksum


@dataclass(frozen=True)
class Batch:
    """Clips of one split and of ``frames`` rows each; ``checksums``: file name -> one a clip."""

    split: str
    names: tuple[str, ...]
    frames: int
    checksums: Mapping[str, tuple[str, ...]]


def journal_line(batch: Batch) -> bytes:
    """A batch as a line of the journal."""
    checksums = {name: list(values) for name, values in batch.checksums.items()}
    text = json.dumps([batch.split, list(batch.names), batch.frames, checksums]).encode()
    return checksum(text).encode() + b" " + text + b"\n"


def read_line(line: bytes, files: Sequence[str]) -> Batch | None:
    """The batch of a line, with checksums for exactly these ``files``; None for a damaged or foreign line."""
    text = line[_MARK + 1 : -1]
    if line != checksum(text).encode() + b" " + text + b"\n":
        return None
    try:
        split, names, frames, checksums = json.loads(text)
        batch = Batch(split, tuple(names), frames, {name: tuple(checksums[name]) for name in files})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    clips = len(batch.names)
    strings = (split, *batch.names, *(value for values in batch.checksums.values() for value in values))
    good = (
        all(type(value) is str for value in strings)
        and type(frames) is int
        and frames > 0
        and clips == len({*batch.names}) > 0
        and len(checksums) == len(files)
        and all(len(values) == clips for values in batch.checksums.values())
    )
    return batch if good else None


def read_journal(path: Path, row_bytes: Mapping[str, int]) -> list[tuple[bytes, Batch]]:
    """The lines, each with its batch, up to the first whose rows do not stand whole in the files beside the journal.

    ``row_bytes``: file name -> bytes of a row. What follows a damaged line is not used: a line of the log says so,
    unless it is only the line that was being written when a run was killed.
    """
    lines = _lines(path)
    kept: list[tuple[bytes, Batch]] = []
    with ExitStack() as stack:
        files = {name: _open(path.with_name(name), stack) for name in row_bytes}
        seen: set[tuple[str, str]] = set()
        for line in lines:
            problem = "a damaged line"
            if (batch := read_line(line, tuple(row_bytes))) is None:
                break
            clips = {(batch.split, name) for name in batch.names}
            bad = [name for name, file in files.items() if not _matches(file, batch, name, row_bytes[name])]
            if bad or not seen.isdisjoint(clips):
                problem = f"{path.with_name(bad[0])} does not match its checksums" if bad else "clips that come twice"
                break
            seen |= clips
            kept.append((line, batch))
    lost = lines[len(kept) :]
    if lost and lost[0].endswith(b"\n"):
        log.warning(
            "damaged embedding cache: %s: %s; computing the last %d of %d batches again",
            *(path, problem, len(lost), len(lines)),
        )
    return kept


def _open(path: Path, stack: ExitStack) -> BinaryIO:
    """A data file; an empty one where there is none, or anything else under its name."""
    try:
        check_readable(path, limit=sys.maxsize)
        return stack.enter_context(path.open("rb"))
    except (OSError, UserError):
        return io.BytesIO()


def _matches(file: BinaryIO, batch: Batch, name: str, size: int) -> bool:
    sizes = (batch.frames * size for _ in batch.names)
    return all(a == b for a, b in zip(clip_checksums(file, sizes), batch.checksums[name], strict=True))


def _lines(path: Path) -> list[bytes]:
    try:
        check_readable(path)
        return path.read_bytes().splitlines(keepends=True)
    except (OSError, UserError):
        return []
