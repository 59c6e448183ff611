"""Our sweeper (src/hydra_plugins): sweep.json is there before the first job, and a sweep that is there goes on."""

import json
import subprocess
import sys

import pytest
from conftest import leave_result
from filelock import FileLock

from hear_exp.cli import sweep_manifest
from hear_exp.cli.job_state import SWEEPING
from hear_exp.cli.sweep_table import read_rows
from hear_exp.errors import UserError


@pytest.fixture
def seeds():
    return []


@pytest.fixture
def job(seeds):
    """Notes its seed; 1 fails the first time, 3 leaves a found.json."""

    def run(config, folder, choices):
        seeds.append(config["seed"])
        assert sweep_manifest.has_manifest(folder.parent)
        if config["seed"] == 1 and seeds.count(1) == 1:
            raise UserError("seed 1 is unlucky")
        if config["seed"] == 3:
            (folder / "found.json").write_text(json.dumps({"folder": str(folder)}))
        else:
            leave_result(folder)

    return run


def test_the_manifest_names_the_jobs_and_their_folders(start, job, tmp_path):
    start(job, "-m", "seed=2,3", "model=naive,logmel")
    (folder,) = tmp_path.glob("runs/sweeps/*")
    manifest = sweep_manifest.read(folder)
    assert manifest.launcher == "basic"
    assert [(one.number, one.overrides, one.folder) for one in manifest.jobs] == [
        (0, ("seed=2", "model=naive"), "0-demo_scene-naive"),
        (1, ("seed=2", "model=logmel"), "1-demo_scene-logmel"),
        (2, ("seed=3", "model=naive"), "2-demo_scene-naive"),
        (3, ("seed=3", "model=logmel"), "3-demo_scene-logmel"),
    ]
    assert all((folder / one.folder / ".hydra").is_dir() for one in manifest.jobs)
    assert (folder / "multirun.yaml").is_file()


@pytest.mark.parametrize("batches", [[], ["hydra.sweeper.max_batch_size=2"]])
def test_a_sweep_that_is_there_goes_on(start, job, seeds, tmp_path, batches, capsys):
    folder = tmp_path / "sweep"
    command = ("-m", "seed=0,1,2,3,4", f"hydra.sweep.dir={folder}", *batches)
    with pytest.raises(SystemExit) as end:
        start(job, *command)
    assert end.value.code == 1
    (folder / "4-demo_scene-logmel" / "result.json").unlink()
    started = sweep_manifest.read(folder).started
    assert seeds == [0, 1, 2, 3, 4]
    start(job, *command)
    assert seeds[5:] == [1, 4]
    assert [row.status.state for row in read_rows(folder)] == ["finished", "finished", "finished", "found", "finished"]
    assert not list(folder.glob("*/error.json"))
    assert sweep_manifest.read(folder).started == started
    start(job, *command)
    assert len(seeds) == 7
    assert capsys.readouterr().err.splitlines()[-1].startswith("4  seed=4  finished")


def test_other_jobs_are_not_mixed_into_a_sweep(start, job, seeds, tmp_path, capsys):
    folder = tmp_path / "sweep"
    start(job, "-m", "seed=2,4", f"hydra.sweep.dir={folder}")
    with pytest.raises(SystemExit) as end:
        start(job, "-m", "seed=2,5", f"hydra.sweep.dir={folder}")
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert f"{folder} holds a sweep of 2 jobs, and other ones than these (for example seed=5 as job 1)" in said
    assert seeds == [2, 4]


def test_a_sweep_that_is_going_on_is_not_started_twice(start, job, seeds, tmp_path, capsys):
    folder = tmp_path / "sweep"
    folder.mkdir()
    name = str(folder / SWEEPING)
    code = f"import filelock; lock = filelock.FileLock({name!r}); lock.acquire(); print(flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(SystemExit):
        start(job, "-m", "seed=2,4", f"hydra.sweep.dir={folder}")
    other.communicate(b"\n")
    assert f"{folder}: this sweep is going on" in capsys.readouterr().err
    assert seeds == []
    start(job, "-m", "seed=2,4", f"hydra.sweep.dir={folder}")
    assert seeds == [2, 4]


def test_the_lock_is_free_when_the_sweep_has_ended(start, job, tmp_path):
    start(job, "-m", "seed=2,4")
    (folder,) = tmp_path.glob("runs/sweeps/*")
    FileLock(folder / SWEEPING).acquire(timeout=0).lock.release()
