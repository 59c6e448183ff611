"""The upload of one offline run, by ``wandb sync`` in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

from ..lenient import reason
from ..results.wandb_attempts import Mark, is_uploaded, retag, write_mark, writing
from ..results.wandb_config import CURRENT, SUPERSEDED
from .runs import OfflineRun

NOT_FOR_SYNC = ("WANDB_MODE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_RESUME")  # which are about other runs


@dataclass(frozen=True)
class Outcome:
    """What became of a run: ``state`` is uploaded, superseded, skipped or failed; ``note`` says more."""

    run: OfflineRun
    state: str
    note: str = ""


def plan(run: OfflineRun) -> Outcome | None:
    """Why there is nothing to do for a run; None where there is."""
    if run.running and not run.uploaded:
        return Outcome(run, "skipped", "still recorded, or uploaded by another process")
    if run.uploaded and (run.mark is None or run.mark.told):
        return Outcome(run, "skipped", "uploaded before")
    return None


def upload(run: OfflineRun, limit_s: float) -> Outcome:
    """Upload a run, as superseded where it is; of one that is uploaded already only its tag. Never raises for a run.

    ``wandb sync`` retries for ever where the server does not answer: it has ``limit_s`` seconds.
    """
    try:
        if run.uploaded and run.mark is not None:
            return _pass_on(run, run.mark)
        with writing(run.folder) as free:
            if not free or is_uploaded(run.folder):
                return Outcome(run, "skipped", "another process has taken it")
            error = _sync(run, limit_s)
        if error:
            return Outcome(run, "failed", error)
        if run.mark is None:
            return Outcome(run, "uploaded")
        write_mark(run.folder, replace(run.mark, told=True))
        return Outcome(run, "superseded", f"uploaded with this tag; its job goes on in {run.mark.by}")
    except Exception as error:  # wandb's own, the network's, a full disk: the others are still to come
        return Outcome(run, "failed", reason(error))


def _pass_on(run: OfflineRun, mark: Mark) -> Outcome:
    retag(mark.project, mark.entity, run.id, mark.by)
    write_mark(run.folder, replace(mark, told=True))
    return Outcome(run, "superseded", f"uploaded before, and tagged now; its job goes on in {mark.by}")


def _sync(run: OfflineRun, limit_s: float) -> str:
    """What ``wandb sync`` failed with; "" where it has marked the run as uploaded: its exit status does not tell."""
    tags = ["--replace-tags", f"{CURRENT}={SUPERSEDED}"] if run.mark else []
    command = [sys.executable, "-m", "wandb", "sync", *tags, str(run.folder.resolve())]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_SYNC}
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # wandb's own service is stopped with it
    )
    try:
        printed, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return f"no end after {limit_s:.0f} s: the server may be out of reach (limit_s=SECONDS gives it longer)"
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == 0 and is_uploaded(run.folder):
        return ""
    said = [line.removeprefix("wandb: ").strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in said if "error" in line.lower() and "error logs at" not in line]
    return (errors or said or [f"wandb sync ended with status {process.returncode} and did not say why"])[-1]
