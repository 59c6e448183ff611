"""Checksums of cached rows, one a clip, so that they hold wherever in a file the clip's rows lie; sealed JSON."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from ..errors import UserError
from ..files import read_json, write_json

_BLOCK_BYTES = 1 << 22
_SEAL = "checksum"
# Files that this process has verified, each as it was then; workers map them and need not verify again.
_verified: set[tuple[Any, ...]] = set()


def checksum(data: Any) -> str:
    """XXH3 of contiguous bytes (bytes, or an array), 64 bits as 16 hexadecimal digits."""
    return xxhash.xxh3_64_hexdigest(data)


def clip_checksums(file: BinaryIO, clip_bytes: Iterable[int]) -> Iterator[str]:
    """The checksum of each clip's bytes, which follow one another in ``file``; what is missing counts as empty."""
    for size in clip_bytes:
        state = xxhash.xxh3_64()
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            state.update(block)
            size -= len(block)
        yield state.hexdigest()


def file_checksum(clips: Iterable[str]) -> str:
    """A file's checksum: XXH3 of its clips' checksums in order, 128 bits as 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest("".join(clips).encode())


def fault(path: Path, clip_bytes: Sequence[int], expected: str) -> str | None:
    """What is wrong with a file that should hold clips of these sizes and this file_checksum; None: nothing.

    The bytes are read once a file and process, unless the file has been touched since.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return f"{path} is not a regular file"
        if status.st_size != (size := sum(clip_bytes)):
            return f"{path} is not {size} bytes"
        times = status.st_mtime_ns, status.st_ctime_ns
        mark = (str(path), status.st_dev, status.st_ino, status.st_size, *times, expected)
        if mark in _verified:
            return None
        with path.open("rb", buffering=_BLOCK_BYTES) as file:
            found = file_checksum(clip_checksums(file, clip_bytes))
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    if found != expected:
        return f"{path} does not match its checksum"
    _verified.add(mark)
    return None


def write_sealed(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file, atomically, that carries a checksum of its content."""
    assert _SEAL not in content
    return write_json(path, {**content, _SEAL: _json_checksum(content)}, indent=None)


def read_sealed(path: Path) -> dict[str, Any]:
    """The content of a file of write_sealed. Raises UserError for anything else, and where a bit has changed."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    sealed = content.pop(_SEAL, None)
    if sealed is None:
        raise UserError(f"{path}: it has no checksum (earlier versions wrote none)")
    try:
        found = _json_checksum(content)
    except RecursionError:  # the writer's limit is lower than the reader's
        raise UserError(f"{path}: nested too deeply") from None
    if sealed != found:
        raise UserError(f"{path}: it does not match its checksum")
    return content


def _json_checksum(content: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())
