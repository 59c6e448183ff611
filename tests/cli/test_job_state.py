"""How far a job is: each state from what its folder holds, and a thousand of them in no time."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import leave_result
from filelock import FileLock

from hear_exp.cli.job_state import KILLED, SWEEPING, JobState, job_state, read_submitted, write_submitted
from hear_exp.cli.run_record import RUNNING, begin, end, record_failure
from hear_exp.cli.sweep_manifest import Manifest, SweepJob, write
from hear_exp.cli.sweep_table import read_rows


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "0-task-model"
    (folder / ".hydra").mkdir(parents=True)
    return folder


def dead_mark(folder):
    (folder / RUNNING).touch()
    old = time.time() - 3600
    os.utime(folder / RUNNING, (old, old))


def test_a_job_that_nobody_has_touched_is_pending(tmp_path):
    assert job_state(tmp_path / "0-task-model") == JobState("pending")


def test_finished(folder):
    (folder / "result.json").write_text(
        json.dumps({"score": 0.25, "primary_metric": "mAP", "seconds": {"embed": 1.0, "search": 2.5}})
    )
    (folder / "run.log").touch()
    assert job_state(folder) == JobState("finished", "mAP 0.2500", 3.5, folder / "run.log")
    assert job_state(folder).done


def test_found_shows_the_score_of_the_run_that_was_there(folder, tmp_path):
    (tmp_path / "other").mkdir()
    leave_result(tmp_path / "other")
    (folder / "found.json").write_text(json.dumps({"identity": "a", "folder": str(tmp_path / "other")}))
    assert job_state(folder) == JobState("found", "mAP 0.2500")
    (tmp_path / "other" / "result.json").unlink()
    assert job_state(folder) == JobState("found", f"the result in {tmp_path / 'other'}, which is gone")


def test_embedded(folder):
    (folder / "embedded.json").write_text(json.dumps({"clips": 40, "computed_clips": 8, "seconds": 2}))
    assert job_state(folder) == JobState("embedded", "40 clips, 8 of them computed", 2.0)


def test_failed(folder):
    record_failure(folder, "the model is unlucky", ValueError(), (), time.time())
    assert job_state(folder) == JobState("failed", "the model is unlucky", 0.0)


def test_running_as_long_as_its_process_lives(folder):
    begin(folder)
    os.utime(folder / RUNNING, (0, 0))
    assert job_state(folder).state == "running"
    end(folder)
    dead_mark(folder)
    assert job_state(folder) == JobState("failed", KILLED)


def test_an_error_of_an_earlier_attempt_does_not_hide_that_it_runs(folder):
    record_failure(folder, "out of luck", ValueError(), (), time.time())
    begin(folder)
    assert job_state(folder).state == "running"
    end(folder)


def test_composed_and_loading(folder):
    lock = FileLock(folder.parent / SWEEPING)
    with lock.acquire():
        command = [sys.executable, "-c", f"from hear_exp.cli.job_state import *; print(job_state({str(folder)!r}))"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "state='running'" in said
    assert job_state(folder) == JobState("failed", "ended before it had begun, without a word")


def test_a_job_that_slurm_has(folder):
    write_submitted(folder, "slurm", "12_3", folder / "slurm.log")
    assert read_submitted(folder).id == "12_3"
    assert job_state(folder) == JobState("submitted", "", None, folder / "slurm.log")
    assert job_state(folder, {"12_3": "PENDING"}).state == "submitted"
    gone = job_state(folder, {"12_4": "PENDING"})
    assert (gone.state, gone.outcome) == ("failed", "ended without a word, and left nothing behind")
    dead_mark(folder)  # killed, and queued again
    assert job_state(folder, {"12_3": "PENDING"}).state == "submitted"
    assert job_state(folder, {}).outcome == KILLED


def test_a_local_job_is_submitted_as_long_as_its_process_lives(folder):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_submitted(folder, "local", str(process.pid), folder / "out")
    assert job_state(folder).state == "submitted"
    process.communicate(b"\n")
    assert job_state(folder).state == "failed"


def test_a_file_that_cannot_be_read_is_no_result(folder):
    (folder / "result.json").write_text("{")
    (folder / ".submitted.json").write_text("{}")
    assert job_state(folder).state == "failed"


def test_a_thousand_jobs_are_read_at_once(tmp_path):
    jobs = []
    for number in range(1000):
        folder = tmp_path / f"{number}-task-model"
        jobs.append(SweepJob(number, (f"seed={number}",), folder.name))
        if number % 4 == 0:
            continue
        (folder / ".hydra").mkdir(parents=True)
        if number % 4 == 1:
            leave_result(folder)
        elif number % 4 == 2:
            dead_mark(folder)
        else:
            record_failure(folder, "unlucky", None, (), 0.0)
    write(tmp_path, Manifest("", (), "", "basic", tuple(jobs)))
    start = time.perf_counter()
    rows = read_rows(tmp_path)
    seconds = time.perf_counter() - start
    assert [row.number for row in rows] == list(range(1000))
    assert [row.status.state for row in rows[:4]] == ["pending", "finished", "failed", "failed"]
    assert seconds < 2


def test_asking_needs_neither_torch_nor_rich():
    code = "import sys; from hear_exp.cli import job_state; print({'torch', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
