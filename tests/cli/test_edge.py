"""The command line: every shipped config composes, --help answers at once, and mistakes get a sentence."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hear_exp.cli.configs import conf_dir
from hear_exp.cli.run_record import begin
from hear_exp.errors import UserError

GROUPS = ("model", "task", "predictor", "protocol", "embeddings", "trainer", "logger", "paths")
CONFIGS = [(group, path.stem) for group in GROUPS for path in sorted((conf_dir() / group).glob("*.yaml"))]


def never(config, folder, choices):
    raise AssertionError("the job has begun")


# Configs ----------------------------------------------------------------------------------------------------


def test_there_is_a_config_in_every_group():
    assert {group for group, _ in CONFIGS} == set(GROUPS)
    assert {("model", "logmel"), ("task", "custom"), ("predictor", "knn"), ("protocol", "fixed")} <= set(CONFIGS)


def test_the_demo_is_the_default(compose):
    config, choices = compose()
    names = {group: config[group]["name"] for group in ("model", "task", "predictor", "protocol", "logger")}
    assert names == {
        "model": "logmel",
        "task": "demo_scene",
        "predictor": "mlp",
        "protocol": "hear2021",
        "logger": "wandb",
    }
    assert (choices.overrides, choices.groups) == ((), {})


def test_root_moves_everything(compose):
    config, _ = compose("paths.root=/elsewhere")
    assert {name: path for name, path in config["paths"].items() if not str(path).startswith("/elsewhere")} == {}
    assert config["task"]["path"].startswith("/elsewhere/")


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins") is None
    or importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None,
    reason="needs the extra 'slurm'",
)
def test_the_slurm_launcher_composes(start, capsys):
    start(never, "hydra/launcher=slurm", "--cfg", "hydra", "--package", "hydra.launcher")
    assert "SlurmLauncher" in capsys.readouterr().out


def test_configs_of_ones_own(compose, tmp_path):
    folder = tmp_path / "mine" / "predictor"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text("defaults: [mlp, _self_]\nname: small\nhidden_dim: 8\n")
    config, _ = compose("--config-dir", str(tmp_path / "mine"), "predictor=small")
    assert (config["predictor"]["name"], config["predictor"]["hidden_dim"]) == ("small", 8)
    assert config["predictor"]["patience"] == 20


def test_run_folder(start, tmp_path):
    folders = []
    for _ in range(2):
        start(lambda config, folder, choices: folders.append(folder), "model=naive", "task=demo_tags")
    assert folders[0].is_relative_to(tmp_path / "runs" / "demo_tags" / "naive")
    assert folders[0] != folders[1]  # two runs that start within a second


# Mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("predictor.lrr=1", "unknown option: predictor.lrr, did you mean predictor.lr?"),
        ("sead=1", "unknown option: sead, did you mean seed?"),
        ("search.worker=2", "unknown option: search.worker, did you mean search.workers?"),
        ("zzz=1", "unknown option: zzz;"),
        (
            "model=cepre",
            "there is no model called 'cepre'; choose one of: ",
        ),
        ("protocol=old", "there is no protocol called 'old'; choose one of: fixed, hear2021"),
        ("modle=crepe", "did you mean model"),
        ("model=", "there is no model called ''; choose one of: "),
        ("+experiment=foo", "there is no experiment called 'foo'; choose one of: demo, hear, "),
        ("experiment=foo", "there is no experiment called 'foo'; choose one of: demo, hear, "),
        ("a=b=c", "cannot read the option a=b=c: "),
        ("paths.root=/proc/nowhere", "cannot write /proc/nowhere"),
        (f"paths.root={__file__}", "cannot write "),
    ],
)
def test_typing_mistakes(start, capsys, tmp_path, argument, expected):
    with pytest.raises(SystemExit) as end:
        start(never, argument)
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert expected in error
    assert error.startswith("hear_exp: ")
    assert len(error.splitlines()) <= 2
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_two_things_at_once_are_a_sentence(start, capsys):
    with pytest.raises(SystemExit) as end:
        start(never, "-m", "model=logmel,naive", "--cfg", "job")
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("hear_exp: Only one of --run, --multirun, --cfg, ")


def fails(config, folder, choices):
    (folder / "predictions").mkdir()
    raise UserError("the task is wrong")


def test_a_users_mistake_is_one_sentence_and_leaves_nothing(start, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        start(fails)
    assert end.value.code == 1
    assert capsys.readouterr().err == "hear_exp: the task is wrong\n"
    assert list(tmp_path.iterdir()) == []


def fails_late(config, folder, choices):
    begin(folder)
    (folder / "predictions").mkdir()
    raise UserError("a worker died")


def test_a_run_that_has_begun_keeps_what_it_wrote_and_says_why(start, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        start(fails_late, "seed=3")
    assert end.value.code == 1
    assert capsys.readouterr().err == "hear_exp: a worker died\n"
    (folder,) = tmp_path.glob("runs/demo_scene/logmel/*")
    assert {path.name for path in folder.iterdir()} == {".hydra", "run.log", "error.json", "predictions"}
    error = json.loads((folder / "error.json").read_text())
    assert (error["sentence"], error["type"], error["overrides"]) == ("a worker died", "UserError", ["seed=3"])
    assert "fails_late" in error["traceback"]
    assert "a worker died" in (folder / "run.log").read_text()


def test_a_mistake_of_ours_keeps_its_traceback(start, tmp_path):
    def broken(config, folder, choices):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        start(broken)
    (path,) = tmp_path.rglob("error.json")
    assert 'raise RuntimeError("a bug")' in json.loads(path.read_text())["traceback"]


def test_interrupted(start, capsys):
    def interrupted(config, folder, choices):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        start(interrupted)
    assert end.value.code == 130
    assert "finished parts (embedded clips, fits, downloads) are kept" in capsys.readouterr().err


# Processes --------------------------------------------------------------------------------------------------


def run(folder: Path, *arguments: str) -> tuple[int, str, str, float]:
    """Status, stdout, stderr and seconds of processor time of the command in ``folder``."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    files = [(folder.parent / name).open("w+") for name in ("out.txt", "err.txt")]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=files[0], stderr=files[1])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read())
        file.close()
    return process.returncode, texts[0], texts[1], usage.ru_utime + usage.ru_stime


@pytest.fixture
def empty(tmp_path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_help(empty):
    """Names every group and option, imports nothing heavy, and answers at once."""
    status, out, imports, seconds = run(empty, "-X", "importtime", "-m", "hear_exp", "--help")
    assert status == 0
    for group, name in CONFIGS:
        assert f"{group}:" in out
        assert name in out
    for option in ("batch_size", "patience", "workers", "in_memory", "seed", "accelerator", "--hydra-help"):
        assert option in out
    modules = {line.rpartition("|")[2].strip() for line in imports.splitlines() if line.startswith("import time:")}
    assert "hear_exp.cli.edge" in modules
    assert not modules & {"torch", "numpy", "pytorch_lightning", "torchmetrics", "matplotlib", "wandb", "sed_eval"}
    assert seconds < 5  # of the processor, so that a busy machine does not fail it
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_bad_input_is_one_sentence(empty):
    status, out, error, _ = run(empty, "-m", "hear_exp", "task=custom", "task.path=nowhere", "logger=none")
    assert status == 1
    assert out == ""
    assert error == "hear_exp: task folder not found: nowhere (expected a folder with task_metadata.json)\n"
    assert list(empty.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENAMETOOLONG]
)
def test_a_folder_that_cannot_be_written_is_a_sentence(start, capsys, error):
    def refused(config, folder, choices):
        raise OSError(error, os.strerror(error), "/there/runs")

    with pytest.raises(SystemExit) as end:
        start(refused)
    assert end.value.code == 1
    assert "cannot write /there/runs: " in capsys.readouterr().err


def test_a_failed_run_leaves_other_peoples_files(start, tmp_path):
    def failed(config, folder, choices):
        (folder / "notes.txt").write_text("mine")
        (folder / "run.log").write_text("ours")
        raise UserError("no")

    with pytest.raises(SystemExit):
        start(failed)
    (notes,) = tmp_path.rglob("notes.txt")
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]
