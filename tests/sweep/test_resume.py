"""A sweep goes on where it stopped: one that is killed for real, and what is run for it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from made_sweeps import finish, make_sweep
from tiny import write_task

from hear_exp.cli.job_state import SWEEPING, write_submitted
from hear_exp.cli.sweep_manifest import Manifest
from hear_exp.sweep.__main__ import main
from hear_exp.sweep.resume import command


@pytest.fixture
def sweep(tmp_path):
    """sweep(3): the folder of a sweep of three jobs, none of which has begun."""
    return partial(make_sweep, tmp_path)


def words_of(tmp_path, code):
    (tmp_path / "program.py").write_text(code)
    return ("python-of-before", str(tmp_path / "program.py"), "-m", "seed=0,1", "hydra.sweep.dir=runs/sweeps/one")


def test_the_same_words_in_the_same_folder(sweep, tmp_path, capfd):
    """Whose exit status is handed on."""
    folder = sweep(2, words_of(tmp_path, "import os, sys; print(os.getcwd(), *sys.argv[1:]); sys.exit(7)"))
    assert main(["resume", str(folder)]) == 7
    assert capfd.readouterr().out.splitlines() == [
        "2 jobs: 2 pending",
        f"{tmp_path} -m seed=0,1 hydra.sweep.dir={folder}",
    ]


def test_a_sweep_that_is_done_is_not_started(sweep, tmp_path, capfd):
    folder = sweep(1, words_of(tmp_path, "raise SystemExit(7)"))
    finish(folder / "0-task-model")
    assert main(["resume", str(folder)]) == 0
    assert capfd.readouterr().out == "1 job: 1 finished\nnothing is missing\n"


def test_a_sweep_that_is_going_on_is_left_alone(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hear_exp.sweep.resume.JUST_BEGUN_S", 0.0)
    folder = sweep(1, words_of(tmp_path, "raise SystemExit(7)"))
    with FileLock(folder / SWEEPING):
        assert main(["resume", str(folder)]) == 1
    assert f"{folder}: this sweep is going on: a process launches its jobs; wait" in capsys.readouterr().err
    write_submitted(folder / "0-task-model", "local", str(os.getpid()), folder / "log")
    assert main(["resume", str(folder)]) == 1
    assert f"{folder}: this sweep is going on: jobs 0 are running or wait for it" in capsys.readouterr().err


def test_the_folder_it_was_started_in_is_gone(sweep, tmp_path, capsys):
    folder = sweep(1, words_of(tmp_path, ""), cwd=tmp_path / "gone")
    assert main(["resume", str(folder)]) == 1
    assert f"was started in {tmp_path / 'gone'}, which is not there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plain", "a b", "a,b", "it's", "a\\'b", "[x]", "a=b", "end\\"])
def test_any_folder_reaches_hydra_as_it_is(tmp_path, name):
    folder = tmp_path / name
    words = command(Manifest("", ("python", "-m", "hear_exp"), "", "basic", ()), folder)
    assert words[:3] == [sys.executable, "-m", "hear_exp"]
    (override,) = OverridesParser.create().parse_overrides(words[3:])
    assert override.value() == str(folder)


def test_a_signal_reaches_the_command(sweep, tmp_path):
    code = "import signal, time, pathlib\nsignal.signal(signal.SIGTERM, lambda *_: exit(3))\n"
    code += f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\ntime.sleep(60)\n"
    folder = sweep(1, words_of(tmp_path, code))
    process = subprocess.Popen([sys.executable, "-m", "hear_exp.sweep", "resume", str(folder)])
    wait_for(process, lambda: (tmp_path / "ready").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 3


def wait_for(process, happened, limit_s=120):
    deadline = time.monotonic() + limit_s
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_sweep_is_finished_and_nothing_is_computed_twice(tmp_path):
    """Killed while its second job embeds; each clip of each of three models is embedded once."""
    write_task(tmp_path / "task", clips=6)
    log = tmp_path / "calls"
    folder = tmp_path / "runs" / "sweeps" / "mine"
    typed = (
        "-m hear_exp -m task=custom task.path=task model=hear model.module=tiny_model "
        "model.options={dim:8},{dim:12},{dim:16} embeddings.batch_seconds=0.5 predictor=knn protocol.grid_points=1 "
        "search.workers=1 trainer=cpu logger=none hydra.sweep.dir=runs/sweeps/mine"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TINY_LOG": str(log)}
    slow = {**environment, "TINY_DELAY": "0.3"}

    def calls() -> int:
        return len(log.read_text().split()) if log.exists() else 0

    def run(command: str) -> tuple[int, list[str]]:
        words = [sys.executable, "-m", "hear_exp.sweep", command, str(folder)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, done.stdout.splitlines()

    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(typed)], cwd=tmp_path, env=slow, stdout=output, stderr=output
        )
        first = folder / "0-task-tiny_model" / "result.json"
        wait_for(process, lambda: len(list(folder.glob("0-*/result.json"))) == 1)
        embedded = calls()
        wait_for(process, lambda: calls() > embedded + 8)
        process.kill()
        process.wait()
    (first,) = folder.glob("0-*/result.json")
    content, killed_at = first.read_bytes(), calls()

    time.sleep(6)  # until then its mark counts as that of a run that has just begun
    status, said = run("status")
    assert status == 1
    assert said[-1] == "3 jobs: 1 finished, 1 pending, 1 failed"
    assert "killed: its process ended without a word" in said[1]

    status, said = run("resume")
    assert status == 0
    assert said[0] == "3 jobs: 1 finished, 1 pending, 1 failed"
    assert first.read_bytes() == content
    assert len(list(folder.glob("*/result.json"))) == 3
    assert run("status")[1][-1] == "3 jobs: 3 finished"
    assert len({json.loads(path.read_text())["identity"] for path in folder.glob("*/result.json")}) == 3
    done = calls()
    assert killed_at < done <= 3 * embedded + 3  # what was under way when it was killed, and nothing more
    assert run("resume") == (0, ["3 jobs: 3 finished", "nothing is missing"])
    assert calls() == done
