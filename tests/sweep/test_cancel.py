"""Ending what a scheduler has: Slurm's jobs and processes of this machine, and no others."""

import os
import subprocess
import sys
from functools import partial

import pytest
from filelock import FileLock
from made_sweeps import finish, make_sweep

from hear_exp.cli.job_state import SUBMITTED, SWEEPING, write_submitted
from hear_exp.cli.run_record import begin, end
from hear_exp.files import read_json, write_json
from hear_exp.sweep.__main__ import main


@pytest.fixture
def sweep(tmp_path):
    """sweep(3): the folder of a sweep of three jobs, none of which has begun."""
    return partial(make_sweep, tmp_path)


@pytest.fixture
def process():
    sleeping = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    yield sleeping
    sleeping.kill()
    sleeping.communicate()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A scancel that notes its arguments, and a squeue that knows jobs 7_0 and 7_1."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (
        ("scancel", f'echo "$@" >> {tmp_path}/cancelled; [ "$1" = 7_0 ] || {{ echo no such job >&2; exit 1; }}'),
        ("squeue", "echo 7_0 RUNNING; echo 7_1 PENDING"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "cancelled"


def test_slurms_jobs(sweep, slurm, capsys):
    folder = sweep(4)
    for i in (0, 1, 2):
        write_submitted(folder / f"{i}-task-model", "slurm", f"7_{i}", folder / "slurm.log")
    finish(folder / "3-task-model")
    assert main(["cancel", str(folder)]) == 1
    assert slurm.read_text().split() == ["7_0", "7_1"]  # 7_2 is not in the queue any more
    assert capsys.readouterr().out.splitlines() == [
        "job 0 (seed=0): cancelled (Slurm's job 7_0)",
        "job 1 (seed=1): scancel 7_1 failed: no such job",
    ]


def test_a_process_of_this_machine(sweep, process, capsys):
    folder = sweep(2)
    write_submitted(folder / "0-task-model", "local", str(process.pid), folder / "log")
    assert main(["cancel", str(folder)]) == 0
    assert process.wait(timeout=10) == -15
    assert capsys.readouterr().out == f"job 0 (seed=0): asked to end (process {process.pid})\n"
    assert main(["cancel", str(folder)]) == 0
    assert capsys.readouterr().out == "nothing to cancel: no job is running or waits\n"


def test_another_process_with_the_number_of_one_that_has_ended(sweep, process, capsys):
    folder = sweep(1)
    note = write_submitted(folder / "0-task-model", "local", str(process.pid), folder / "log")
    os.utime(note, (0, 0))
    assert main(["cancel", str(folder)]) == 0
    assert capsys.readouterr().out == f"job 0 (seed=0): its process {process.pid} has ended\n"
    assert process.poll() is None


@pytest.mark.parametrize("number", ["0", "1", "-1", "x"])
def test_a_number_that_no_job_has(sweep, number, capsys):
    """kill 0 and kill -1 would end the shell that asks, or everything."""
    folder = sweep(1)
    write_submitted(folder / "0-task-model", "local", number, folder / "log")
    begin(folder / "0-task-model")
    assert main(["cancel", str(folder)]) == 1
    end(folder / "0-task-model")
    assert f"its process {number} could not be ended" in capsys.readouterr().out


def test_a_process_of_another_machine(sweep, capsys):
    folder = sweep(1)
    note = write_submitted(folder / "0-task-model", "local", "12", folder / "log")
    write_json(note, {**read_json(note), "host": "elsewhere"})
    assert (folder / "0-task-model" / SUBMITTED) == note
    assert main(["cancel", str(folder)]) == 1
    assert capsys.readouterr().out == "job 0 (seed=0): is process 12 of elsewhere; cancel it there\n"


def test_a_sweep_in_a_process_of_its_own(sweep, capsys):
    folder = sweep(1)
    (folder / "0-task-model").mkdir()
    begin(folder / "0-task-model")
    with FileLock(folder / SWEEPING):
        assert main(["cancel", str(folder)]) == 1
    end(folder / "0-task-model")
    job, launching = capsys.readouterr().out.splitlines()
    assert job.startswith("job 0 (seed=0): runs in the process that started the sweep: press Ctrl-C there")
    assert "press Ctrl-C where it runs (python -m hear_exp -m seed=0)" in launching
