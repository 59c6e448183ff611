"""Unpacking that trusts nothing in the archive: no links or devices, no way out, and limits on what may come of it."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import UserError

CHUNK = 1 << 20
# HEAR's largest archives hold 100503 clips, six folders deep, and 16-bit audio seldom packs to a tenth.
MOST_MEMBERS = 2_000_000
DEEPEST = 16
LONGEST_PART, LONGEST_NAME = 255, 1024  # bytes; the first is what file systems allow
MOST_PER_PACKED, FREE_BYTES = 100, 256 << 20  # unpacked bytes for each packed one, above the first of them
_LONGEST_HEADER = 1 << 20  # bytes of a name or of attributes, which tarfile holds in memory
_HEADERS = (*(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK), *(tarfile.XHDTYPE, tarfile.XGLTYPE, b"X"))

OnBytes = Callable[[int], None]


class ContentError(UserError):
    """An archive that is not what it should be: another one has to be had."""


class StorageError(UserError):
    """The disk or the system failed; nothing is wrong with the archive."""


def ignore_bytes(position: int) -> None:
    """Shows no progress."""


def storage_fault(error: BaseException | None) -> OSError | None:
    """The system's error behind ``error``, if it comes from one that says nothing of a file's content."""
    while error is not None:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            return error
        error = error.__cause__ or error.__context__
    return None


@dataclass
class _Limits:
    """What has come out of an archive of ``packed`` bytes so far."""

    archive: Path
    packed: int
    members: int = 0
    unpacked: int = 0

    def count(self, member: tarfile.TarInfo) -> None:
        """Raises ContentError for a member beyond the limits."""
        self.members += 1
        self.unpacked += member.size
        if self.members > MOST_MEMBERS:
            _refuse(self.archive, f"it holds more than {MOST_MEMBERS} files")
        if member.size < 0 or member.issparse():
            _refuse(self.archive, f"{member.name!r} is a file with holes, or of a size below 0")
        if self.unpacked > FREE_BYTES + MOST_PER_PACKED * self.packed:
            _refuse(
                self.archive, f"its {self.packed} bytes unpack to more than {MOST_PER_PACKED} times as many (a bomb?)"
            )


class _Member(tarfile.TarInfo):
    """A member whose name and attributes are not read where they alone would fill the memory."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and not 0 <= member.size <= _LONGEST_HEADER:
            raise ContentError(f"it holds a name or attributes of {member.size} bytes")
        return member


def unpack(archive: Path, folder: Path, on_bytes: OnBytes = ignore_bytes) -> None:
    """Unpack a .tar.gz into the new folder ``folder``; ``on_bytes`` is told how far into the archive it is.

    Only plain files and folders are written, with plain permissions and owners: a member that is a link, a
    device or a pipe, or that would land outside of ``folder``, is no part of a task, so its archive is refused; so is
    one with more members, deeper or longer names, or more bytes for its size than any task has.

    Raises ContentError for such an archive and for one that is broken, StorageError where the disk or the system
    fails.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        folder.mkdir(parents=True)
        limits = _Limits(archive, archive.stat().st_size)
        # A stream: one pass, and a position to show that does not depend on an index of the archive.
        with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Member) as tar:
            for member in tar:
                limits.count(member)
                _unpack_member(archive, tar, member, folder)
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps all, which nobody asks for again
                on_bytes(raw.tell())
    except ContentError as error:
        text = str(error)
        raise ContentError(text if str(archive) in text else _untrusted(archive, text)) from error
    except OSError as error:
        if error.errno is None:  # tarfile's and gzip's own, such as BadGzipFile
            raise ContentError(f"{archive} is no whole .tar.gz: {error}") from error
        raise StorageError(_storage_sentence(archive, folder, error)) from error
    except MemoryError as error:
        raise StorageError(f"cannot unpack {archive}: memory ran out") from error
    # Each is what Python's reader of archives ends with on some kind of damage.
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, LookupError, RecursionError) as error:
        raise ContentError(f"{archive} is no whole .tar.gz: {error}") from error


def _storage_sentence(archive: Path, folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{archive}: the disk is full ({error.strerror}), unpacking to {folder.parent}; make room, or put the "
            "tasks elsewhere with paths.tasks=FOLDER"
        )
    return (
        f"cannot unpack {archive} to {folder.parent}: {error.strerror}"
        + (f" ({Path(str(error.filename)).name})" if error.filename else "")
        + "; mend that, or put the tasks elsewhere with paths.tasks=FOLDER"
    )


def _unpack_member(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder.joinpath(*_safe_parts(archive, member.name))
    if not member.isdir() and not member.isreg():
        _refuse(archive, f"{member.name!r} is {'a link' if member.issym() or member.islnk() else _OTHER}")
    if member.size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        assert content is not None
        with path.open("xb") as file:  # x: no member may write over, or through, what another one wrote
            shutil.copyfileobj(content, file, CHUNK)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise ContentError(_untrusted(archive, f"it holds {member.name!r} twice")) from None


_OTHER = "neither a file nor a folder"


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a member's name; raises ContentError for one that leads out of the folder it is unpacked to."""
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    if ".." in parts or name.startswith("/") or windows.drive or "\\" in name or "\0" in name:
        _refuse(archive, f"{name!r} would be written outside of its folder")
    if not name.isprintable():
        _refuse(archive, f"{name!r} holds an unprintable character")
    if len(parts) > DEEPEST:
        _refuse(archive, f"{name[:80]!r}... lies {len(parts)} folders deep, at most {DEEPEST} are expected")
    if len(name.encode()) > LONGEST_NAME or any(len(part.encode()) > LONGEST_PART for part in parts):
        _refuse(archive, f"the name {name[:80]!r}... is too long")
    return parts


def _refuse(archive: Path, why: str) -> None:
    raise ContentError(_untrusted(archive, why))


def _untrusted(archive: Path, why: str) -> str:
    return f"{archive} is not to be trusted: {why}; nothing of it was installed"
