"""The table of a sweep: a row a job, with its state, its score or what it failed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import filter_overrides
from omegaconf import OmegaConf

from ..safe_text import one_line
from . import sweep_manifest
from .job_state import JobState, job_state
from .sweep_manifest import SweepJob

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Row:
    """A job of a sweep and how far it is; ``overrides`` without those of Hydra itself."""

    number: int
    overrides: str
    status: JobState
    folder: Path


def read_rows(folder: Path, queue: Mapping[str, str] | None = None) -> list[Row]:
    """The jobs of the sweep in ``folder``, by number; of an old one without sweep.json those that left something.

    ``queue``: what Slurm has now, see job_state. Raises UserError for a sweep.json that cannot be used.
    """
    folder = Path(folder)
    jobs = sweep_manifest.read(folder).jobs if sweep_manifest.has_manifest(folder) else _jobs_on_disk(folder)
    return [
        Row(job.number, " ".join(filter_overrides(list(job.overrides))), job_state(folder / job.folder, queue), path)
        for job in jobs
        for path in [folder / job.folder]
    ]


def show_rows(rows: Sequence[Row], to: Console | None = None, *, logs: bool = False) -> None:
    """Print a table of jobs, ``to`` a console or on stderr; one line a job where that is not a terminal.

    ``logs``: with the log of each job where it has one, in place of its folder.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..progress import console

    console = to or console
    cells = [
        [
            one_line(cell)
            for cell in (
                *(str(row.number), row.overrides, row.status.state, row.status.outcome),
                *(_seconds(row.status.seconds), str((row.status.log if logs else None) or row.folder)),
            )
        ]
        for row in rows
    ]
    if not console.is_terminal:
        for line in cells:
            print("  ".join(line), file=console.file)
        return
    titles = ("job", "overrides", "", "score", "time", "log" if logs else "folder")
    table = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False)
    for row, line in zip(rows, cells, strict=True):
        style = "bold red" if row.status.state == "failed" else ""
        table.add_row(*(Text(cell, style if place == 2 else "", overflow="fold") for place, cell in enumerate(line)))
    console.print(table)


def _jobs_on_disk(folder: Path) -> list[SweepJob]:
    """The jobs of a sweep without sweep.json, from what Hydra left in their folders."""
    jobs = []
    for path in folder.glob("*/.hydra/hydra.yaml"):
        hydra = OmegaConf.load(path).hydra
        overrides = tuple(str(override) for override in hydra.overrides.task)
        jobs.append(SweepJob(int(hydra.job.num), overrides, path.parent.parent.name))
    return sorted(jobs, key=lambda job: (job.number, job.folder))


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"
