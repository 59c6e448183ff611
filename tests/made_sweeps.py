"""Made-up folders of sweeps, for the tests of what is done with them afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hear_exp.cli.sweep_manifest import Manifest, SweepJob, write


def make_sweep(
    root: Path, jobs: int, words: Sequence[str] = ("python", "-m", "hear_exp", "-m", "seed=0"), cwd: Path | None = None
) -> Path:
    """The folder of a sweep of so many jobs below ``root``, none of which has begun."""
    folder = root / "runs" / "sweeps" / "one"
    folder.mkdir(parents=True)
    noted = tuple(SweepJob(i, (f"seed={i}",), f"{i}-task-model") for i in range(jobs))
    write(folder, Manifest("2026-01-01T00:00:00+00:00", tuple(words), str(cwd or root), "basic", noted))
    return folder


def finish(folder: Path) -> None:
    """A job ends well."""
    (folder / ".hydra").mkdir(parents=True)
    content = {"score": 0.25, "primary_metric": "mAP", "seconds": {"embed": 1.0, "search": 2.0}}
    (folder / "result.json").write_text(json.dumps(content))
