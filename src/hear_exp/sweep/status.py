"""How far a sweep is: a row a job, and how many are in which state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..cli import sweep_manifest
from ..cli.sweep_table import Row, show_rows
from .jobs import jobs_of

STATES = ("finished", "found", "embedded", "running", "submitted", "pending", "failed")


def status(folder: Path) -> int:
    """Print the table of the sweep in ``folder``; returns 1 while a job has failed. Raises UserError for no sweep."""
    from rich.console import Console

    rows = jobs_of(folder)
    show_rows(rows, Console(), logs=True)
    if not sweep_manifest.has_manifest(folder):
        print("a sweep of an earlier version, which noted no jobs: those that had not begun are not known")
    print(counted(rows))
    return int(any(row.status.state == "failed" for row in rows))


def counted(rows: Sequence[Row]) -> str:
    """How many jobs there are, and how many in each state that one is in."""
    counts = Counter(row.status.state for row in rows)
    each = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return f"{len(rows)} {'job' if len(rows) == 1 else 'jobs'}" + (f": {each}" if each else "")
