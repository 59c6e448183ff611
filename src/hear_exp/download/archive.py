"""Task archives on disk: checksums, unpacking that trusts nothing in the archive, and putting a task in its place."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from ..files import remove_leftovers, remove_stale, temporary_name
from ..progress import human_size
from ..tasks.folder import Task, read_task
from .unpack import ContentError, OnBytes, StorageError, ignore_bytes, storage_fault, unpack

CHUNK = 1 << 20
UNPACKED_PER_PACKED = 2.0  # 16-bit audio seldom packs to less than half; a figure to ask for disk space by


def md5_of(path: Path, on_bytes: OnBytes = ignore_bytes) -> str:
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
    """Raises StorageError where the disk of ``folder`` (or its nearest parent) has less than ``needed`` bytes free."""
    folder = Path(folder).resolve()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise StorageError(
            f"{what} needs about {human_size(needed)} of disk space, but {there} has {human_size(free)} free "
            "(paths.tasks=FOLDER puts the tasks elsewhere)"
        )


def find_task(folder: Path, archive: Path) -> Path:
    """The one task folder under ``folder``, which ``archive`` was unpacked to (HEAR: hear-2021.0.6/tasks/TASK)."""
    found = sorted(path.parent for path in Path(folder).rglob("task_metadata.json"))
    if len(found) != 1:
        held = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise ContentError(f"{archive}: expected one folder with task_metadata.json (a HEAR task), found {held}")
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


def install(archive: Path, beside: Path, place: Callable[[str], Path], on_bytes: OnBytes = ignore_bytes) -> Task:
    """Unpack ``archive``, check that its task reads and is whole, and move it to where ``place`` says.

    ``place`` gives the task's new folder, which lies in ``beside``, by the name that its folder has in the archive;
    it may raise to refuse that task, and a task that is there already stays. The task is unpacked in ``beside`` and
    renamed at the end, so that what is in its place is whole. The caller holds a lock.

    Raises ContentError for an archive that is broken, unsafe or no task, StorageError where the disk fails; nothing
    of it is left behind.
    """
    archive = Path(archive)
    check_space(beside, UNPACKED_PER_PACKED * archive.stat().st_size, f"unpacking {archive.name}")
    target = Path(beside) / archive.name.removesuffix(".part")
    remove_leftovers(target)  # of a process that was killed: the lock is ours
    building = temporary_name(target)
    try:
        remove_stale(beside)
        unpack(archive, building, on_bytes)
        found = find_task(building, archive)
        target = place(found.name)
        try:
            check_whole(found)
        except UserError as error:
            shown = str(error).replace(f"{found}{os.sep}", "").replace(str(found), found.name)
            if fault := storage_fault(error):
                raise StorageError(f"cannot read what was unpacked of {archive}: {shown}") from fault
            raise ContentError(f"{archive} holds a task that is not whole: {shown}") from error
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(found, target)
    except OSError as error:
        raise StorageError(f"cannot unpack {archive} to {beside}: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return check_place(target)


def check_place(folder: Path) -> Task:
    """The task in ``folder``; raises UserError, saying how to mend it, where it is not whole."""
    try:
        return check_whole(folder)
    except UserError as error:
        raise UserError(f"{folder} is there but not whole: {error}. Remove it to have it installed anew") from error
