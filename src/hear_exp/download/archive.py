"""Task archives on disk: checksums, unpacking that trusts nothing in the archive, and putting a task in its place."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import UserError
from ..progress import human_size
from ..task import Task, read_task

CHUNK = 1 << 20
UNPACKED_PER_PACKED = 2.0  # 16-bit audio seldom packs to less than half; a figure to ask for disk space by

OnBytes = Callable[[int], None]


class DiskFullError(UserError):
    """No room; nothing is wrong with the archive."""


def _ignore(position: int) -> None:
    """Shows no progress."""


def md5_of(path: Path, on_bytes: OnBytes = _ignore) -> str:
    """MD5 of a file in hexadecimal; ``on_bytes`` is called with the number of bytes read so far."""
    digest, position = hashlib.md5(usedforsecurity=False), 0
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            on_bytes(position := position + len(chunk))
    return digest.hexdigest()


def parse_md5(text: str) -> str | None:
    """The checksum in a FILE.md5 ('HEX  FILENAME', as md5sum writes it, or HEX alone); None if there is none."""
    match = re.match(r"\s*\\?([0-9a-fA-F]{32})\b", text)
    return match.group(1).lower() if match else None


def check_space(folder: Path, needed: float, what: str) -> None:
    """Raises DiskFullError where the disk of ``folder`` (or its nearest parent) has less than ``needed`` bytes free."""
    folder = Path(folder).resolve()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise DiskFullError(
            f"{what} needs about {human_size(needed)} of disk space, but {there} has {human_size(free)} free "
            "(paths.tasks=FOLDER puts the tasks elsewhere)"
        )


def unpack(archive: Path, folder: Path, on_bytes: OnBytes = _ignore) -> None:
    """Unpack a .tar.gz into the new folder ``folder``; ``on_bytes`` is told how far into the archive it is.

    Only plain files and folders are written, with plain permissions and owners: a member that is a link, a
    device or a pipe, or that would land outside of ``folder``, is no part of a task, so its archive is refused.

    Raises UserError for such an archive and for one that is broken, DiskFullError where there is no room.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True)
    try:
        # A stream: one pass, and a position to show that does not depend on an index of the archive.
        with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|*") as tar:
            for member in tar:
                _unpack_member(archive, tar, member, folder)
                on_bytes(raw.tell())
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DiskFullError(
                f"{archive}: the disk is full, unpacking to {folder.parent} (paths.tasks=FOLDER)"
            ) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot unpack {archive}: {error}") from error
        raise UserError(f"{archive} is no whole .tar.gz: {error}") from error


def _unpack_member(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder.joinpath(*_safe_parts(archive, member.name))
    if not member.isdir() and not member.isreg():
        kind = "a link" if member.issym() or member.islnk() else "neither a file nor a folder"
        raise UserError(f"{archive} is not to be trusted: {member.name!r} is {kind}; nothing of it was installed")
    if member.size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, "no space left")
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
        raise UserError(f"{archive} is not to be trusted: it holds {member.name!r} twice") from None


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a member's name; raises UserError for one that leads out of the folder it is unpacked to."""
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    if ".." in parts or name.startswith("/") or windows.drive or "\\" in name or "\0" in name:
        raise UserError(
            f"{archive} is not to be trusted: {name!r} would be written outside of its folder; "
            "nothing of it was installed"
        )
    return parts


def find_task(folder: Path, archive: Path) -> Path:
    """The one task folder under ``folder``, which ``archive`` was unpacked to (HEAR: hear-2021.0.6/tasks/TASK)."""
    found = sorted(path.parent for path in Path(folder).rglob("task_metadata.json"))
    if len(found) != 1:
        held = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise UserError(f"{archive}: expected one folder with task_metadata.json (a HEAR task), found {held}")
    return found[0]


def check_whole(folder: Path) -> Task:
    """The task of ``folder``, each of its clips there at each of its rates.

    Raises UserError, naming the file, for what is missing or cannot be read. Audio is looked for, not opened.
    """
    task = read_task(folder)
    for rate in task.sample_rates:
        for split in task.splits:
            where = task.folder / str(rate) / split.name
            there = {entry.name for entry in os.scandir(where)} if where.is_dir() else set()
            missing = [clip.name for clip in split.clips if clip.name not in there]
            if missing:
                raise UserError(
                    f"{len(missing)} of {len(split.clips)} clips are missing from {where} (the first: {missing[0]})"
                )
    return task


def install(archive: Path, beside: Path, place: Callable[[str], Path], on_bytes: OnBytes = _ignore) -> Task:
    """Unpack ``archive``, check that its task reads and is whole, and move it to where ``place`` says.

    ``place`` gives the task's new folder, which lies in ``beside``, by the name that its folder has in the archive;
    it may raise to refuse that task, and a task that is there already stays. The task is unpacked in ``beside`` and
    renamed at the end, so that what is in its place is whole. The caller holds a lock.

    Raises UserError for an archive that is broken, unsafe or no task, DiskFullError where there is no room; nothing
    of it is left behind.
    """
    archive = Path(archive)
    check_space(beside, UNPACKED_PER_PACKED * archive.stat().st_size, f"unpacking {archive.name}")
    building = Path(beside) / f".unpacking-{archive.name}"
    shutil.rmtree(building, ignore_errors=True)  # of a process that was killed: the lock is ours
    try:
        unpack(archive, building, on_bytes)
        found = find_task(building, archive)
        target = place(found.name)
        try:
            check_whole(found)
        except UserError as error:
            shown = str(error).replace(f"{found}{os.sep}", "").replace(str(found), found.name)
            raise UserError(f"{archive} holds a task that is not whole: {shown}") from error
        if not target.exists():
            os.replace(found, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return check_place(target)


def check_place(folder: Path) -> Task:
    """The task in ``folder``; raises UserError, saying how to mend it, where it is not whole."""
    try:
        return check_whole(folder)
    except UserError as error:
        raise UserError(f"{folder} is there but not whole: {error}. Remove it to have it installed anew") from error
