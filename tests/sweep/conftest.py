"""Made-up sweeps and results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fabricated import result_of, scene_outcome, scene_problem

from hear_exp.cli.sweep_manifest import Manifest, SweepJob, write
from hear_exp.results.result import write_result


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    problem = scene_problem(tmp_path_factory.mktemp("scene"), ["a", "b"])
    return replace(result_of(problem, scene_outcome(problem)), identity="0" * 64)


@pytest.fixture
def sweep(tmp_path):
    """sweep(3): the folder of a sweep of three jobs, none of which has begun."""

    def made(jobs: int, words=("python", "-m", "hear_exp", "-m", "seed=0"), cwd=tmp_path):
        folder = tmp_path / "runs" / "sweeps" / "one"
        folder.mkdir(parents=True)
        noted = tuple(SweepJob(i, (f"seed={i}",), f"{i}-task-model") for i in range(jobs))
        write(folder, Manifest("2026-01-01T00:00:00+00:00", tuple(words), str(cwd), "basic", noted))
        return folder

    return made


@pytest.fixture
def finish():
    """finish(folder): a job ends well."""

    def ended(folder):
        (folder / ".hydra").mkdir(parents=True)
        content = {"score": 0.25, "primary_metric": "mAP", "seconds": {"embed": 1.0, "search": 2.0}}
        (folder / "result.json").write_text(json.dumps(content))

    return ended


@pytest.fixture
def put(result):
    """put(folder, seed=1): a finished run, whose identity is that of its seed; more fields of its result by name."""

    def made(folder, seed=1, **changes):
        folder.mkdir(parents=True)
        changes.setdefault("identity", f"{seed:064x}")
        write_result(folder, replace(result, seed=seed, **changes))
        (folder / "plots").mkdir()
        (folder / "plots" / "grid.png").write_bytes(b"picture")
        return folder

    return made
