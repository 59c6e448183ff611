"""sweep.json: what a sweep was asked to do, written into its folder before its first job."""

from __future__ import annotations

import datetime
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import read_json, write_json

MANIFEST = "sweep.json"


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep: its number, its overrides, and the name of its folder inside the sweep's."""

    number: int
    overrides: tuple[str, ...]
    folder: str


@dataclass(frozen=True)
class Manifest:
    """A sweep: when it was started (ISO 8601), with which words and where, through which launcher, its jobs.

    ``words`` start with the Python program, so that running them in ``cwd`` is the same command again.
    """

    started: str
    words: tuple[str, ...]
    cwd: str
    launcher: str
    jobs: tuple[SweepJob, ...]

    @property
    def command(self) -> str:
        """The words as a shell takes them."""
        return shlex.join(self.words)


def new_manifest(launcher: str, jobs: Sequence[SweepJob]) -> Manifest:
    """The manifest of a sweep that this process starts now."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return Manifest(now, tuple(sys.orig_argv), os.getcwd(), launcher, tuple(jobs))


def write(folder: Path, manifest: Manifest) -> Path:
    """Write sweep.json into a sweep's ``folder``; returns its path."""
    return write_json(Path(folder) / MANIFEST, {**asdict(manifest), "command": manifest.command})


def has_manifest(folder: Path) -> bool:
    """Whether ``folder`` is a sweep's that left a sweep.json; those of earlier versions have none."""
    return (Path(folder) / MANIFEST).is_file()


def read(folder: Path) -> Manifest:
    """The manifest of the sweep in ``folder``. Raises UserError where there is none, or none that can be used."""
    path = Path(folder) / MANIFEST
    content = read_json(path, "a sweep's folder has one, runs/sweeps/DATE for example")
    try:
        return Manifest(
            started=_text(content["started"]),
            words=tuple(map(_text, content["words"])),
            cwd=_text(content["cwd"]),
            launcher=_text(content["launcher"]),
            jobs=tuple(_job(job) for job in content["jobs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a sweep's manifest: {type(error).__name__}: {error}") from None


def _job(content: Any) -> SweepJob:
    folder = _text(content["folder"])
    if Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ValueError(f"the folder of a job, {folder!r}, lies outside the sweep's")
    return SweepJob(int(content["number"]), tuple(map(_text, content["overrides"])), folder)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
