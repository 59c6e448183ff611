"""What tells of a run that it works, has failed, or was killed."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest

from hear_exp.cli import run_record
from hear_exp.cli.run_log import RunLog
from hear_exp.cli.run_record import begin, end, has_begun, record_failure, settle_killed

BEGINS = """
import pathlib, sys, time
from hear_exp.cli.run_record import begin
begin(pathlib.Path(sys.argv[1]))
print(1, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "runs" / "task" / "model" / "run"
    path.mkdir(parents=True)
    return path


def old(folder) -> None:
    """As if the run in ``folder`` had begun an hour ago."""
    hour_ago = time.time() - 3600
    os.utime(folder / run_record.RUNNING, (hour_ago, hour_ago))


def test_a_run_that_ends(folder):
    assert not has_begun(folder)
    begin(folder)
    assert has_begun(folder)
    end(folder)
    assert list(folder.iterdir()) == []


def test_a_result_takes_an_earlier_failure_away(folder):
    """A preempted job is started again in the folder it had."""
    record_failure(folder, "killed", None, (), time.time())
    begin(folder)
    (folder / "result.json").write_text("{}")
    end(folder)
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_a_disk_that_is_full_does_not_hide_the_failure(tmp_path):
    record_failure(tmp_path / "gone", "a sentence", ValueError("x"), ["seed=1"], time.time())


def test_a_killed_run_is_recognised_and_a_living_one_is_not(folder, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", BEGINS, str(folder)], stdout=subprocess.PIPE)
    process.stdout.read(1)
    old(folder)
    assert settle_killed(tmp_path / "runs") == []
    process.kill()
    process.wait()
    process.stdout.close()
    assert settle_killed(tmp_path / "runs") == [folder]
    assert [path.name for path in folder.iterdir()] == ["error.json"]
    error = json.loads((folder / "error.json").read_text())
    assert error["sentence"].startswith("killed: its process ended without a word")
    assert error["seconds"] == pytest.approx(3600, abs=60)
    assert settle_killed(tmp_path / "runs") == []


def test_a_young_mark_is_left_alone(folder, tmp_path):
    (folder / run_record.RUNNING).touch()
    assert settle_killed(tmp_path / "runs") == []
    old(folder)
    assert settle_killed(tmp_path / "runs") == [folder]


def test_the_next_command_in_a_root_settles_what_was_killed(start, folder):
    (folder / run_record.RUNNING).touch()
    old(folder)
    start(lambda config, folder, choices: None)
    assert (folder / "error.json").exists()


def test_what_is_logged_after_a_run_was_removed_makes_no_complaint(tmp_path, capsys):
    """At exit something may log, into a folder that is gone."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    handler = RunLog(folder / "run.log", delay=True)
    logging.getLogger().addHandler(handler)
    try:
        run_record.remove_unbegun(folder, tmp_path)
        assert handler not in logging.getLogger().handlers
        logging.getLogger().warning("too late")
    finally:
        logging.getLogger().removeHandler(handler)
    assert not folder.exists()
    assert "cannot write" not in capsys.readouterr().err
