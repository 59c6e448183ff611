"""Fixtures that more than one test file uses."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tiny, tiny_model and fabricated; also for tests in subfolders

from hear_exp.cli import edge as cli
from hear_exp.cli.choices import Choices

if TYPE_CHECKING:  # the process that hands the tests out to workers need not import torch
    from hear_exp.prediction.problem import Problem

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children could not be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """None for one file, which ends before workers have begun, nor where a person looks on; else as xdist does."""
    files = {test.split("::")[0] for test in config.getoption("file_or_dir")}
    one_file = len(files) == 1 and files.pop().endswith(".py")
    looks_on = config.getoption("capture") == "no" or config.getoption("trace")
    return 0 if one_file or looks_on else None


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny tensors: threads that wait for one another on a busy machine cost seconds."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_trouble(monkeypatch):
    """A setting of the tester's shell must not decide a test."""
    for name in ("TINY_LOG", "TINY_DELAY", "TINY_MEMORY", "TINY_ERROR", "TINY_NAN", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs a job as the command line would, in this process: start(job, "model=crepe", ...)."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # so that it is put back: the command line sets it

    def run(job, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["hear_exp", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "")
        cli.start(job)

    yield run
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def leave_result(folder: Path) -> None:
    """What a job of a sweep that ends well leaves, as far as the sweep's table reads it."""
    (folder / "result.json").write_text(json.dumps({"score": 0.25, "primary_metric": "mAP", "seconds": {}}))


@pytest.fixture
def jobs_of(start, monkeypatch):
    """jobs_of("experiment=hear", ...): the overrides of the jobs that a command would start."""
    from hear_exp.cli import multirun

    def expanded(*typed: str) -> list[list[str]]:
        got = []

        def check_jobs(jobs, config):
            got.extend(multirun.expand(config))
            raise SystemExit

        monkeypatch.setattr(multirun.Jobs, "_check_jobs", check_jobs)
        with pytest.raises(SystemExit):
            start(lambda *job: got.append(job), *typed)
        return got

    return expanded


@pytest.fixture
def compose(start):
    """compose("model=crepe", ...): the config and the choices that a job gets."""

    def composed(*arguments: str) -> tuple[dict[str, Any], Choices]:
        got = []
        start(lambda config, folder, choices: got.append((config, choices)), *arguments)
        (only,) = got
        return only

    return composed


@pytest.fixture
def settings_of(compose):
    """settings_of("model=crepe", ...): the config as the job reads it, and the choices."""
    from hear_exp.settings.config import Settings
    from hear_exp.settings.fields import read

    def made(*arguments: str) -> tuple[Settings, Choices]:
        config, choices = compose(*arguments)
        return read(Settings, config), choices

    return made


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The sizes of the batches that the tiny model has embedded so far."""
    log = tmp_path / "calls.log"
    monkeypatch.setenv("TINY_LOG", str(log))
    return lambda: [int(line) for line in log.read_text().split()] if log.exists() else []


@pytest.fixture(scope="session")
def multiclass(tmp_path_factory) -> Problem:
    """Scenes with one label each; shared, not to be written to."""
    return _problem(tmp_path_factory, "multiclass", clips=13)  # an odd number, to leave batches of one row


@pytest.fixture(scope="session")
def multilabel(tmp_path_factory) -> Problem:
    """Scenes with any number of labels; shared, not to be written to."""
    return _problem(tmp_path_factory, "multilabel", clips=24)


@pytest.fixture(scope="session")
def events(tmp_path_factory) -> Problem:
    """Scenes of 4 s with tones of 400 ms; shared, not to be written to."""
    return _problem(tmp_path_factory, "events", clips=6, seconds=4.0)


def _problem(factory: pytest.TempPathFactory, kind: str, **options) -> Problem:
    from tiny import make_problem

    return make_problem(factory.mktemp(kind), kind, **options)
