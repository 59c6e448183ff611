"""The jobs of a sweep that a person names by its folder, with what Slurm says of them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..cli import sweep_manifest
from ..cli.job_state import read_submitted
from ..cli.sweep_manifest import MANIFEST
from ..cli.sweep_table import Row, read_rows
from ..errors import UserError

SLURM_ANSWERS_S = 30.0


def jobs_of(folder: Path) -> list[Row]:
    """The jobs of the sweep in ``folder`` and how far each is. Raises UserError where there is no sweep."""
    check_sweep(folder)
    rows = read_rows(folder)
    waiting = [row for row in rows if row.status.state == "submitted" and _is_slurms(row)]
    if not waiting or (queue := slurm_queue()) is None:
        return rows
    return read_rows(folder, queue)


def check_sweep(folder: Path) -> None:
    """Raise UserError unless ``folder`` is that of a sweep, of this version or an earlier one."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; a sweep's is runs/sweeps/DATE, below paths.root")
    if sweep_manifest.has_manifest(folder) or any(folder.glob("*/.hydra/hydra.yaml")):
        return
    inside = [path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(f"{pattern}/{MANIFEST}")]
    if inside:
        newest = max(inside, key=lambda path: path.stat().st_mtime).parent
        raise UserError(f"{folder} is not a sweep's folder, but holds {len(inside)} of them; the newest is {newest}")
    raise UserError(f"{folder} is not a sweep's folder: it has neither {MANIFEST} nor folders of jobs")


def slurm_queue() -> Mapping[str, str] | None:
    """What Slurm has now: id (123, or 123_4 in an array) -> state in its words; None where it does not answer."""
    answer = ask(["squeue", "--noheader", "--array", "--format=%i %T"])
    if answer is None or answer.returncode:
        return None
    return dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if len(line.split()) == 2)


def ask(words: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a command of Slurm answers; None where it is not installed or does not answer."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=SLURM_ANSWERS_S)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _is_slurms(row: Row) -> bool:
    submitted = read_submitted(row.folder)
    return submitted is not None and submitted.kind == "slurm"
