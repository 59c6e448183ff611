"""A sweep goes on: its own command again, in its own folder, which runs the jobs that are not done."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ..cli import sweep_manifest
from ..cli.job_state import JUST_BEGUN_S, SWEEPING, is_locked
from ..cli.sweep_manifest import MANIFEST, Manifest
from ..cli.sweep_table import Row
from ..errors import UserError, listed
from .jobs import check_sweep, jobs_of
from .status import counted

WHERE = "hydra.sweep.dir"


def resume(folder: Path) -> int:
    """Run the jobs of the sweep in ``folder`` that are not done, and wait for them; returns the command's exit status.

    Raises UserError where there is no sweep, where it is still going on, or where its command cannot be run again.
    """
    check_sweep(folder)
    if not sweep_manifest.has_manifest(folder):
        raise UserError(
            f"{folder} is the sweep of an earlier version: it has no {MANIFEST}, which says how it was started; run "
            "its command again, and the jobs whose results are there are not computed again"
        )
    manifest = sweep_manifest.read(folder)
    rows = _at_rest(folder)
    print(counted(rows), flush=True)
    if all(row.status.done for row in rows):
        print("nothing is missing")
        return 0
    if not Path(manifest.cwd).is_dir():
        raise UserError(
            f"the sweep was started in {manifest.cwd}, which is not there (on this machine); resume it where it was "
            f"started, or run its command elsewhere: {manifest.command}"
        )
    return _run(command(manifest, folder), manifest.cwd)


def command(manifest: Manifest, folder: Path) -> list[str]:
    """The words that run the sweep of ``manifest`` again, in ``folder`` and with this Python."""
    words = [word for word in manifest.words[1:] if not word.startswith(f"{WHERE}=")]
    return [sys.executable, *words, f"{WHERE}={_quoted(str(folder.resolve()))}"]


def _at_rest(folder: Path) -> list[Row]:
    """The jobs, none of which is running or waiting to. Raises UserError where one is."""
    patience = time.monotonic() + JUST_BEGUN_S + 1  # so long one counts as running whose process has been killed
    while True:
        going_on = is_locked(folder / SWEEPING)
        rows = jobs_of(folder)
        busy = [str(row.number) for row in rows if row.status.state in ("running", "submitted")]
        if not busy and not going_on:
            return rows
        if going_on or time.monotonic() > patience:
            break
        time.sleep(0.5)
    what = f"jobs {listed(busy)} are running or wait for it" if busy else "a process launches its jobs"
    raise UserError(
        f"{folder}: this sweep is going on: {what}; wait for it, or end it with "
        f"python -m hear_exp.sweep cancel {folder}"
    )


def _quoted(text: str) -> str:
    """A value as Hydra's grammar takes it."""
    if re.fullmatch(r"[\w./+@-]+", text, re.ASCII):
        return text
    return "'" + re.sub(r"(\\*)'", r"\1\1\'", re.sub(r"(\\+)$", r"\1\1", text)) + "'"


def _run(words: Sequence[str], cwd: str) -> int:
    """Run the command as long as it takes; signals are for it to answer."""
    process = subprocess.Popen(words, cwd=cwd)

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
    signal.signal(signal.SIGTERM, hand_on)
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status
