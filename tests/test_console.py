"""The console command hear_exp, and the completion of a shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hear_exp.cli.configs import names_in

MAIN = "import sys; sys.argv[0] = 'hear_exp'; from hear_exp.console import main; main()"


def test_the_command_is_declared():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert 'hear_exp = "hear_exp.console:main"' in text


@pytest.mark.slow
def test_completion_answers_without_anything_heavy(tmp_path):
    def complete(line: str) -> tuple[set[str], str]:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", MAIN, "-sc", "query=bash"],
            env={**os.environ, "COMP_LINE": line},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split()), done.stderr

    words, imports = complete("hear_exp model=")
    assert words == {f"model={name}" for name in names_in("model")}
    modules = {line.rpartition("|")[2].strip() for line in imports.splitlines() if line.startswith("import time:")}
    assert not modules & {"torch", "pytorch_lightning", "wandb", "matplotlib", "soundfile"}
    assert list(tmp_path.iterdir()) == []
    assert complete("hear_exp predictor.pat")[0] == {"predictor.patience="}


def test_the_completion_script_is_of_the_command():
    done = subprocess.run([sys.executable, "-c", MAIN, "-sc", "install=bash"], capture_output=True, text=True)
    assert "hear_exp" in done.stdout
    assert "complete" in done.stdout
