"""Ctrl-C and SIGTERM, in real processes that are somewhere in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SLEEPS = "import pathlib, time\npathlib.Path('ready').touch()\ntime.sleep(60)\n"
CLEANS_UP_SLOWLY = """
import pathlib, time
try:
    pathlib.Path("ready").touch()
    time.sleep(60)
finally:
    time.sleep(60)
"""
MODEL = ("model=hear", "model.module=sleepy", "logger=none")


@pytest.fixture
def interrupted(tmp_path):
    """interrupted(module, its source, arguments, signals): status and stderr of a command that imports it meanwhile."""

    def run(module: str, source: str, arguments: list[str], *signals: int) -> tuple[int, str]:
        (tmp_path / f"{module}.py").write_text(source)
        work = tmp_path / "work"
        work.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=work, env=environment, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        while not (work / "ready").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        for number in signals:
            process.send_signal(number)
            time.sleep(1.5 if len(signals) > 1 else 0)
        _, error = process.communicate(timeout=60)
        return process.returncode, error

    return run


COMMANDS = ("hear_exp", "hear_exp.download", "hear_exp.prepare", "hear_exp.validate", "hear_exp.export_heareval")


@pytest.mark.parametrize(
    ("command", "number"), [*((command, signal.SIGINT) for command in COMMANDS), ("hear_exp", signal.SIGTERM)]
)
def test_during_imports(interrupted, command, number):
    status, error = interrupted("yaml", SLEEPS, ["-m", command], number)
    word = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    kept = "nothing is left behind" if command.endswith("prepare") else "finished parts "
    assert status == 128 + number
    assert error.startswith(f"hear_exp: {word}; {kept}")
    assert len(error.splitlines()) == 1


def test_during_the_reports_imports(interrupted):
    status, error = interrupted("rich", SLEEPS, ["-m", "hear_exp.report"], signal.SIGINT)
    assert (status, error) == (130, "hear_exp: interrupted; what is written already stays\n")


def test_while_a_model_is_loaded_in_a_sweep(interrupted, tmp_path):
    arguments = ["-m", "hear_exp", *MODEL, "-m", "seed=1,2"]
    status, error = interrupted("sleepy", SLEEPS, arguments, signal.SIGTERM)
    assert status == 143
    assert "hear_exp: ended by SIGTERM; finished parts (embedded clips, fits, downloads) are kept" in error
    assert "Traceback" not in error
    assert list(tmp_path.glob("work/runs/**/run.log")) == []


def test_a_second_ctrl_c_does_not_wait_for_the_cleaning_up(interrupted):
    arguments = ["-m", "hear_exp", *MODEL]
    status, error = interrupted("sleepy", CLEANS_UP_SLOWLY, arguments, signal.SIGINT, signal.SIGINT)
    assert status == 130
    assert error.count("hear_exp: interrupted; ") == 1
    assert "Traceback" not in error


def test_a_run_that_has_begun_says_that_it_was_interrupted(start, tmp_path):
    from hear_exp.cli.run_record import begin

    def job(config, folder, choices):
        begin(folder)
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        start(job)
    assert end.value.code == 130
    (path,) = Path(tmp_path).rglob("error.json")
    assert json.loads(path.read_text())["sentence"] == "interrupted"
