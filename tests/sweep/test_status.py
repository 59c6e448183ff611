"""The table of a sweep, and the sentences where there is none."""

import subprocess
import sys
import time
from functools import partial

import pytest
from made_sweeps import finish, make_sweep

from hear_exp.cli.job_state import write_submitted
from hear_exp.cli.run_record import record_failure
from hear_exp.sweep import jobs
from hear_exp.sweep.__main__ import main


@pytest.fixture
def sweep(tmp_path):
    """sweep(3): the folder of a sweep of three jobs, none of which has begun."""
    return partial(make_sweep, tmp_path)


def test_a_row_a_job_and_the_counts(sweep, capsys):
    folder = sweep(3)
    finish(folder / "0-task-model")
    (folder / "1-task-model").mkdir()
    record_failure(folder / "1-task-model", "seed 1 is unlucky", ValueError(), (), time.time())
    (folder / "1-task-model" / "run.log").touch()
    assert main(["status", str(folder)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"0  seed=0  finished  mAP 0.2500  3 s  {folder / '0-task-model'}",
        f"1  seed=1  failed  seed 1 is unlucky  0 s  {folder / '1-task-model' / 'run.log'}",
        f"2  seed=2  pending      {folder / '2-task-model'}",
        "3 jobs: 1 finished, 1 pending, 1 failed",
    ]


def test_nothing_has_failed(sweep, capsys):
    folder = sweep(2)
    finish(folder / "0-task-model")
    assert main(["status", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 jobs: 1 finished, 1 pending"


def test_a_job_that_slurm_no_longer_has(sweep, monkeypatch, capsys):
    folder = sweep(2)
    for i in (0, 1):
        write_submitted(folder / f"{i}-task-model", "slurm", f"7_{i}", folder / "slurm.log")
    monkeypatch.setattr(jobs, "slurm_queue", lambda: None)
    assert main(["status", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 jobs: 2 submitted"
    monkeypatch.setattr(jobs, "slurm_queue", lambda: {"7_1": "PENDING"})
    assert main(["status", str(folder)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 jobs: 1 submitted, 1 failed"


@pytest.mark.parametrize("command", ["status", "resume", "cancel"])
def test_a_folder_without_a_sweep_is_a_sentence(command, sweep, tmp_path, capsys):
    def said(folder):
        assert main([command, str(folder)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    nowhere = tmp_path / "nowhere"
    assert said(nowhere).startswith(f"hear_exp: {nowhere}: there is no such folder; a sweep's is runs/sweeps/DATE")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert said(empty) == (f"hear_exp: {empty} is not a sweep's folder: it has neither sweep.json nor folders of jobs")
    folder = sweep(1)
    assert said(folder.parent).endswith(f"is not a sweep's folder, but holds 1 of them; the newest is {folder}")
    (folder / "sweep.json").write_text("[]")
    assert said(folder).startswith(f"hear_exp: {folder / 'sweep.json'}: not a sweep's manifest")


def test_a_sweep_of_an_earlier_version(tmp_path, capsys):
    folder = tmp_path / "old" / "0-task-model"
    finish(folder)
    (folder / ".hydra" / "hydra.yaml").write_text("hydra: {overrides: {task: [seed=1]}, job: {num: 0}}\n")
    assert main(["status", str(folder.parent)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("0  seed=1  finished  mAP 0.2500")
    assert "an earlier version" in shown[1]
    assert main(["resume", str(folder.parent)]) == 1
    assert "it has no sweep.json, which says how it was started; run its command again" in capsys.readouterr().err


def test_a_thousand_jobs_in_no_time_and_without_torch(sweep):
    folder = sweep(1000)
    for i in range(1000):
        finish(folder / f"{i}-task-model")
    code = (
        "import sys; from hear_exp.sweep.__main__ import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules); sys.exit(status)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "status", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5
    assert len(done.stdout.splitlines()) == 1001
