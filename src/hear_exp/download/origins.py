"""Where HEAR's archives are to be had, their sizes and checksums: Zenodo's record, or a mirror."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from .archive import parse_md5
from .fetch import Patience, fetch_json, fetch_text, size_at


@dataclass(frozen=True)
class Wanted:
    """One archive of the task ``task``, and the folder ``place`` for what it holds; ``md5`` if it is pinned."""

    task: str
    archive: str
    place: Path
    md5: str | None = None

    @property
    def filename(self) -> str:
        """The archive's file. Zenodo has 48 kHz only; what a model wants is resampled from it."""
        return f"hear2021-{self.archive}-48000.tar.gz"


@dataclass(frozen=True)
class Origin:
    """Where an archive comes from, a ``url`` or a ``file``; its ``size`` in bytes and its md5 where they are known."""

    wanted: Wanted
    url: str | None = None
    file: Path | None = None
    size: int | None = None
    md5: str | None = None

    @property
    def where(self) -> str:
        """The address or the path."""
        return str(self.url or self.file)


@dataclass(frozen=True)
class Listed:
    """A file of a Zenodo record: its address, bytes and md5."""

    url: str
    size: int | None
    md5: str | None


def wanted_archives(task: Mapping[str, Any]) -> list[Wanted]:
    """The archives of a task's config, each with its place: the task's folder, or a folder in it for each part."""
    pinned, path = task.get("md5") or {}, task["path"]
    return [
        Wanted(task["name"], name, Path(path, name) if task.get("parts") else Path(path), pinned.get(name))
        for name in task.get("archives") or []
    ]


def find_origins(wanted: Sequence[Wanted], record: str, mirror: str | None, patience: Patience) -> list[Origin]:
    """Where each archive is: in Zenodo's ``record``, or in ``mirror``, a URL or a folder.

    A mirror's checksums are the pinned ones, those in FILENAME.md5 beside the archive, or Zenodo's where it can be
    reached, in this order; an archive without any has md5 None.

    Raises UserError for an archive that is not there.
    """
    if mirror:
        find = _in_url if "://" in mirror else _in_folder
        return _with_checksums([find(mirror.rstrip("/"), item, patience) for item in wanted], record)
    listed = record_files(record, patience)
    for item in wanted:
        if item.filename not in listed:
            raise UserError(f"{record} has no file {item.filename}; it has: {', '.join(sorted(listed)) or 'none'}")
    found = [(item, listed[item.filename]) for item in wanted]
    return [Origin(item, url=file.url, size=file.size, md5=item.md5 or file.md5) for item, file in found]


def record_files(record: str, patience: Patience) -> dict[str, Listed]:
    """The files of a Zenodo record by name, from the address of its REST record. Raises UserError without them."""
    try:
        content = fetch_json(record, patience)
    except UserError as error:
        raise UserError(
            f"{error}. Without internet: fetch the archives elsewhere and give their folder, download.mirror=FOLDER"
        ) from error
    files = {}
    try:
        for file in content["files"]:
            kind, _, checksum = str(file.get("checksum") or "").rpartition(":")
            md5 = parse_md5(checksum) if kind in ("", "md5") else None
            size = int(file["size"]) if file.get("size") is not None else None
            files[str(file["key"])] = Listed(str(file["links"]["self"]), size, md5)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{record}: expected a record of Zenodo with its files, got something else") from error
    return files


def _in_folder(mirror: str, wanted: Wanted, patience: Patience) -> Origin:
    file = Path(mirror) / wanted.filename
    if not file.is_file():
        raise UserError(f"download.mirror={mirror} has no file {wanted.filename}")
    return Origin(wanted, file=file, size=file.stat().st_size, md5=wanted.md5 or md5_beside(file))


def md5_beside(file: Path) -> str | None:
    """The checksum in FILE.md5, if there is one."""
    path = file.with_name(f"{file.name}.md5")
    if not path.is_file():
        return None
    try:
        with path.open("rb") as content:
            return parse_md5(content.read(4096).decode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _in_url(mirror: str, wanted: Wanted, patience: Patience) -> Origin:
    url = f"{mirror}/{wanted.filename}"
    text = None if wanted.md5 else fetch_text(f"{url}.md5", patience)
    return Origin(wanted, url=url, size=size_at(url, patience), md5=wanted.md5 or (parse_md5(text) if text else None))


def _with_checksums(origins: list[Origin], record: str) -> list[Origin]:
    if all(origin.md5 for origin in origins):
        return origins
    try:
        listed = record_files(record, Patience(attempts=1, timeout_s=10))
    except UserError:  # the reason for a mirror, as a rule
        return origins
    known = {name: file.md5 for name, file in listed.items()}
    return [dataclasses.replace(origin, md5=origin.md5 or known.get(origin.wanted.filename)) for origin in origins]
