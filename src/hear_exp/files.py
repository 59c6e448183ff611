"""Files: read with their faults in a sentence, written whole or not at all, locked, known by their digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import filelock

from .errors import UserError, shown

log = logging.getLogger(__name__)

READ_LIMIT_BYTES = 1 << 30  # no text file of a task or a run comes near it
STALE_SECONDS = 7 * 24 * 3600.0  # a temporary file this old belongs to nobody: no single file takes a week to write
_TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{8}\.tmp$")


# Reading ----------------------------------------------------------------------------------------------------


def check_readable(path: Path, hint: str = "", limit: int = READ_LIMIT_BYTES) -> None:
    """Raise UserError unless ``path`` is a regular file of at most ``limit`` bytes that this process may read.

    A pipe or a device under a file's name would be waited for without end. ``hint`` says what the file is for
    where it is missing: 'a HEAR task folder has one'.
    """
    path = Path(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"file not found: {path}" + (f" ({hint})" if hint else "")) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"cannot read {path}: {_reason(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file (a pipe, socket or device)"
        raise UserError(f"cannot read {path}: it is {kind}")
    if status.st_size > limit:
        raise UserError(f"cannot read {path}: {status.st_size} bytes, at most {limit} are expected")


def read_text(
    path: Path,
    hint: str = "",
    *,
    encoding: str = "utf-8",
    newline: str | None = None,
    limit: int = READ_LIMIT_BYTES,
) -> str:
    """A text file's content, its line ends as ``newline`` says to ``open``.

    Raises UserError, naming the file, where it cannot be read or is not UTF-8.
    """
    check_readable(path, hint, limit)
    try:
        with Path(path).open(encoding=encoding, newline=newline) as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {_reason(error)}") from None


def read_json(path: Path, hint: str = "", *, limit: int = READ_LIMIT_BYTES) -> Any:
    """A JSON file's content. Raises UserError, naming the file, for anything that is not JSON text.

    NaN and Infinity, which JSON does not have, are refused; so are lone surrogates, which no file name, terminal
    or UTF-8 file could take, and a name that comes twice in an object, of which one would be lost without a word.
    """
    text = read_text(path, hint, limit=limit)
    try:
        content = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_names)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: not valid JSON: a lone surrogate: {error.reason}") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON for this purpose: nested too deeply") from None
    return content


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {shown(twice)} comes twice in one object")
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


# Writing ----------------------------------------------------------------------------------------------------


def temporary_name(path: Path) -> Path:
    """A name beside ``path`` that no process of any machine uses: what is built there is renamed when it is whole."""
    # The host tells a person who left it; the random part makes it unique (process ids repeat across nodes).
    return path.with_name(f"{_temporary_stem(path)}{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _temporary_stem(path: Path) -> str:
    """How this machine's temporary names for ``path`` begin."""
    host = re.sub(r"[^\w-]", "_", socket.gethostname())[:32]
    return f".{path.name[:120]}.{host}."


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """A file object whose content becomes ``path`` when the block ends without an error, else leaves it untouched.

    An OSError of a write gets the file's name, which Python leaves out ('No space left on device' of what?).
    """
    path = Path(path)
    temporary = temporary_name(path)
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    try:
        with naming(path):
            with temporary.open(mode, **options) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an OSError raised inside, and lacking a file name, the name ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not error.filename:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically: it is there whole or as it was before. Returns its path."""
    with replacing(path) as file:
        file.write(text)
    return Path(path)


def write_json(path: Path, content: Any, indent: int | None = 1) -> Path:
    """Write a JSON file atomically. Raises ValueError for NaN and infinity, which JSON does not have."""
    return write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def remove_leftovers(path: Path) -> None:
    """Remove what this machine's processes left of building ``path``. The caller holds the lock that they held."""
    stem = _temporary_stem(path)
    for left in path.parent.glob(".*.tmp"):
        if left.name.startswith(stem) and _TEMPORARY.match(left.name):
            _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_stale(folder: Path, older_than_s: float = STALE_SECONDS) -> list[Path]:
    """Remove what ``temporary_name`` made in ``folder`` and a killed process left there; returns what went."""
    gone = []
    for path in Path(folder).glob(".*.tmp"):
        try:
            if not _TEMPORARY.match(path.name) or time.time() - path.lstat().st_mtime < older_than_s:
                continue
            _remove(path)
            gone.append(path)
        except OSError:
            continue  # another process's, or it went meanwhile
    return gone


# Between processes, and content -----------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes; ``waiting`` is logged where another one has it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("%s", waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def json_digest(content: Any) -> str:
    """SHA-256 of ``content`` as JSON with sorted names, hexadecimal: what records are identified by."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
