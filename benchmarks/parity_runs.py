"""Runs of both programs on a folder of embeddings, for parity.py: made once, kept with their logs and seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).with_name("peer_driver.py")


def run_peer(python: str, folder: Path, work: Path, grid_points: int, seed: int) -> dict[str, Any]:
    """heareval's record of a run, made unless ``work`` has it."""
    record = work / f"peer-{seed}"
    drive_peer(python, folder, record, grid_points, seed)
    content = json.loads((record / "peer.json").read_text())
    content |= {"stage_seconds": content["seconds"], "arrays": record / "peer.npz"}
    return {**content, "seconds": json.loads((record / "seconds.json").read_text())}


def drive_peer(python: str, folder: Path, record: Path, *arguments: Any) -> None:
    """Run peer_driver.py with heareval's Python on a copy of ``folder``, unless ``record`` is complete."""
    if not (record / "seconds.json").exists():
        shutil.rmtree(record, ignore_errors=True)
        copy = record / "copy"  # heareval writes beside the embeddings
        copy.mkdir(parents=True)
        for file in folder.iterdir():
            if file.is_file():
                (copy / file.name).symlink_to(file.resolve())
        _timed([python, "-W", "ignore", DRIVER, copy, record, *arguments], record, cwd=copy)
        shutil.rmtree(copy)


def run_ours(folder: Path, work: Path, grid_points: int, seed: int) -> dict[str, Any]:
    """Our result.json of a run, made unless ``work`` has it."""
    record = work / f"ours-{seed}"
    if not (record / "seconds.json").exists():
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir(parents=True)
        command = [sys.executable, "-m", "hear_exp", "embeddings=heareval", f"embeddings.path={folder}", f"seed={seed}"]
        command += [f"protocol.grid_points={grid_points}", "trainer=cpu", "logger=none", f"paths.root={work}"]
        _timed([*command, f"hydra.run.dir={record / 'run'}"], record, cwd=work)
    result = json.loads((record / "run" / "result.json").read_text())
    result["stage_seconds"] = result["seconds"]["search"] + result["seconds"]["test"]
    return {**result, "seconds": json.loads((record / "seconds.json").read_text())}


def _timed(command: Sequence[Any], record: Path, cwd: Path) -> None:
    started = time.perf_counter()
    with (record / "log.txt").open("w") as log:
        subprocess.run([str(part) for part in command], check=True, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
    (record / "seconds.json").write_text(json.dumps(time.perf_counter() - started))


def peer_score(scores: Mapping[str, Any], name: str) -> float:
    """Our name of a score in heareval's scores, where an F-measure is a list of (part, value)."""
    if name in scores:
        value = scores[name]
        return float(value[0][1] if isinstance(value, list) else value)
    whole, _, part = name.rpartition("_")
    return float(dict(scores[whole])[part])
