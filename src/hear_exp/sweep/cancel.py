"""Ends the jobs of a sweep that were handed to Slurm, or to processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

from ..cli import sweep_manifest
from ..cli.job_state import SUBMITTED, SWEEPING, Submitted, is_locked, read_submitted
from ..cli.sweep_table import Row
from ..safe_text import lines
from .jobs import ask, jobs_of

YOUNGER_S = 5.0  # a process that began this much later than its note was written is another one with its number


def cancel(folder: Path) -> int:
    """Ask each job of the sweep in ``folder`` that is running or waits to end; prints a line for each.

    Returns 1 where one could not be asked. Raises UserError for no sweep.
    """
    rows = [row for row in jobs_of(folder) if row.status.state in ("running", "submitted")]
    launching = is_locked(folder / SWEEPING)
    failures = 0
    for row in rows:
        said, failed = _cancel(row)
        failures += failed
        print(lines(f"job {row.number} ({row.overrides}): {said}"))
    if launching:
        started = sweep_manifest.read(folder).command if sweep_manifest.has_manifest(folder) else "its command"
        print(lines(f"the process that launches the jobs is still there; press Ctrl-C where it runs ({started})"))
    elif not rows:
        print("nothing to cancel: no job is running or waits")
    return int(failures > 0)


def _cancel(row: Row) -> tuple[str, bool]:
    """What became of it, and whether that is a failure."""
    submitted = read_submitted(row.folder)
    if submitted is None:
        where = "press Ctrl-C there, or end that process with kill (a job of Slurm's: with scancel)"
        return f"runs in the process that started the sweep: {where}", True
    if submitted.kind == "slurm":
        return _cancel_on_slurm(submitted)
    if submitted.host != socket.gethostname():
        return f"is process {submitted.id} of {submitted.host}; cancel it there", True
    return _end_process(submitted, row.folder / SUBMITTED)


def _cancel_on_slurm(submitted: Submitted) -> tuple[str, bool]:
    answer = ask(["scancel", submitted.id])
    if answer is None:
        return f"is Slurm's job {submitted.id}, but scancel is not here or does not answer", True
    if answer.returncode:
        return f"scancel {submitted.id} failed: {' '.join(answer.stderr.split())}", True
    return f"cancelled (Slurm's job {submitted.id})", False


def _end_process(submitted: Submitted, note: Path) -> tuple[str, bool]:
    try:
        process = int(submitted.id)
        began = _began(process)
        if began is None:
            return f"is process {process}, of which this system does not say when it began; end it with kill", True
        if began > note.stat().st_mtime + YOUNGER_S:
            return f"its process {process} has ended", False
        if os.getpgid(process) == process:
            os.killpg(process, signal.SIGTERM)
        else:
            os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return f"its process {submitted.id} has ended", False
    except (OSError, ValueError) as error:
        return f"its process {submitted.id} could not be ended: {error}", True
    return f"asked to end (process {process})", False


def _began(process: int) -> float | None:
    """When a process began, in seconds since 1970; None where this system has no /proc. Raises ProcessLookupError."""
    if process <= 1:
        raise ValueError("not the number of a job's process")
    os.kill(process, 0)
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        (boot,) = (line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    return None
