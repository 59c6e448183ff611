"""Sweeps: checked before they start, all their jobs run, and a table at the end."""

import json
import sys

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # what ours is held against
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tiny import write_task

from hear_exp.cli import multirun
from hear_exp.cli.sweep_table import read_rows
from hear_exp.errors import UserError

pytestmark = pytest.mark.slow


def never(config, folder, choices):
    raise AssertionError("a job has begun")


def some_fail(config, folder, choices):
    if config["seed"] == 1:
        raise UserError("seed 1 is unlucky")
    if config["seed"] == 2:
        raise RuntimeError("a bug")
    content = {"score": 0.25, "primary_metric": "mAP", "seconds": {"embed": 1.0, "search": 2.0}}
    (folder / "result.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["seed=1,x"], "job 1 (seed=x): seed is 'x', expected a whole number from 0 up; none of the 2 jobs was"),
        (["model=logmel,nope"], "job 1 (model=nope): there is no model called 'nope'; choose one of: "),
        (["model=hear", "model.module=json,nope"], "job 1 (model=hear model.module=nope): model nope: module nope is"),
        (["task=demo_tags,custom"], "job 1 (task=custom): task=custom needs the folder of the task"),
        (["task=glob(nothing*)"], "task=glob(nothing*) matches nothing, so that this sweep has no jobs"),
        (["predictor.lr=1e-3,fast"], "job 1 (predictor.lr=fast): predictor.lr is 'fast', expected a number above 0"),
    ],
)
def test_a_job_that_cannot_work_ends_the_sweep_before_it_starts(start, capsys, tmp_path, arguments, sentence):
    with pytest.raises(SystemExit) as end:
        start(never, "-m", *arguments)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"hear_exp: {sentence}")
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def expanded(start, tmp_path, monkeypatch):
    """expanded("a=1,2", ...): the jobs as we and as Hydra's own sweeper expand them, or what either complains of."""
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    for name in ("slow", "slower", "fast"):
        (folder / f"{name}.yaml").write_text("# @package _global_\nseed: 1\n")
    (tmp_path / "mine" / "given.yaml").write_text(
        "defaults: [config, _self_]\nhydra: {sweeper: {params: {seed: '4,5', +predictor.a: 'choice(x,y)'}}}\n"
    )

    def expand(*typed: str):
        got = []

        def check_jobs(jobs, config):
            parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
            params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
            overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
            (batch,) = BasicSweeper.split_arguments(overrides, None)
            got.extend([multirun.expand(config), batch])
            raise SystemExit

        monkeypatch.setattr(multirun.Jobs, "_check_jobs", check_jobs)
        with pytest.raises(SystemExit):
            start(never, "-m", *typed, "--config-dir", str(tmp_path / "mine"))
        return got

    return expand


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        (["seed=1,2", "predictor.lr=1e-3,1e-4", "model=naive"], 4),
        (["seed=range(1,4)", "predictor.dropout=range(0,1,0.5)"], 6),
        (["seed=choice(1,2)", "predictor.lr=sort(3,1,2)", "predictor.patience=tag(x,choice(1,2))"], 12),
        (["protocol=glob(*)", "task=glob([demo_*,custom],exclude=demo_tags)"], 8),
        (["experiment=slow,slower", "predictor=mlp,linear"], 4),
        (["experiment=glob(slow*)"], 2),
        (["--config-name", "given"], 4),
        (["--config-name", "given", "seed=1,2,3", "model=naive,logmel"], 12),
        (["seed=1", "predictor.lr=[1e-3,1e-4]", "+predictor.b={x:1,y:[2,null]}", "++predictor.c=a\\,b"], 1),
        (["predictor.lr=[1e-3,1e-4],[1e-2]", "+predictor.d='a,b',\"it's\"", "+predictor.e='a=b'"], 4),
        (["+predictor.name2=true,false,null", "~predictor.patience", "seed=1,2", "seed=3"], 3),
        (["model.weights='',\"x y\""], 2),
        (["hydra.sweeper.max_batch_size=1", "seed=1,2"], 2),
        ([], 1),
    ],
)
def test_a_sweep_is_expanded_as_hydras_own_sweeper_does(expanded, typed, number):
    ours, hydras = expanded(*typed)
    assert ours == hydras
    assert len(ours) == number


def test_files_are_swept_by_glob(jobs_of, tmp_path):
    """A job for each weights file, in the order of the numbers in their names."""
    for step in (100, 20):
        (tmp_path / f"step={step}.pt").touch()
    got = jobs_of("-m", "model=hear", "model.module=tiny_model", "model.weights=glob('*.pt')", "task=custom")
    assert [job[2] for job in got] == ["model.weights='step=20.pt'", "model.weights='step=100.pt'"]


def test_a_glob_that_matches_no_file_is_a_sentence(start, capsys, tmp_path):
    with pytest.raises(SystemExit):
        start(never, "-m", "model=hear", "model.module=tiny_model", "model.weights=glob(none/*.pt)")
    assert capsys.readouterr().err.startswith("hear_exp: model.weights=glob(none/*.pt) matches nothing, so that this")
    assert list(tmp_path.iterdir()) == []


def test_a_continuous_range_is_refused(start, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        start(never, "-m", "predictor.lr=interval(0,1)")
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("hear_exp: predictor.lr=interval(0,1) is a continuous range")
    assert list(tmp_path.iterdir()) == []


def test_jobs_of_another_sweeper_are_not_known():
    config = OmegaConf.create({"hydra": {"sweeper": {"_target_": "hydra_plugins.optuna.OptunaSweeper"}}})
    assert multirun.expand(config) == []


def test_tasks_are_checked_too(start, capsys, tmp_path):
    folder = write_task(tmp_path / "good")
    with pytest.raises(SystemExit):
        start(never, "-m", "task=custom", f"task.path={folder},/none")
    assert "job 1 (task=custom task.path=/none): task folder not found: /none" in capsys.readouterr().err


def test_a_failed_job_does_not_stop_the_others(start, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        start(some_fail, "-m", "seed=1,2,3", "hydra.sweeper.max_batch_size=1")
    assert end.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "hear_exp: 2 of 3 jobs failed: 0, 1"
    (folder,) = tmp_path.glob("runs/sweeps/*")
    rows = read_rows(folder)
    assert [(row.number, row.overrides, row.status.state, row.status.outcome) for row in rows] == [
        (0, "seed=1", "failed", "seed 1 is unlucky"),
        (1, "seed=2", "failed", "RuntimeError: a bug"),
        (2, "seed=3", "finished", "mAP 0.2500"),
    ]
    assert rows[2].status.seconds == 3.0
    assert lines[-4].startswith("0  seed=1  failed  seed 1 is unlucky  0 s  ")
    assert lines[-2].startswith("2  seed=3  finished  mAP 0.2500  3 s  ")
    assert "a bug" in (rows[1].folder / "run.log").read_text()


def test_a_sweep_whose_jobs_all_finish(start, capsys):
    start(some_fail, "-m", "seed=3,4")
    assert capsys.readouterr().err.splitlines()[-1].startswith("1  seed=4  finished")


@pytest.mark.skipif(sys.platform == "win32", reason="submitit")
def test_jobs_of_a_scheduler_are_recorded_too(start, capsys, tmp_path):
    """Processes of their own, which know of the parent's config only; also there a job can be composed again."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")

    def job(config, folder, choices):
        if config["seed"] == 1:
            again = choices.composition.with_task_settings({"predictor": {"lr": [0.5], "patience": [7]}})
            raise ValueError("lr {lr}, patience {patience}".format(**again["predictor"]))
        content = {"score": 0.25, "primary_metric": "mAP", "seconds": {}}
        (folder / "result.json").write_text(json.dumps(content))

    mine = tmp_path / "mine" / "experiment" / "slow.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# @package _global_\npredictor:\n  lr: 1e-3\n")
    with pytest.raises(SystemExit) as end:
        start(
            job,
            *("-m", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=2", "seed=1,3", "experiment=slow"),
            *("--config-dir", str(tmp_path / "mine")),
        )
    assert end.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == "hear_exp: 1 of 2 jobs failed: 0"
    (path,) = tmp_path.rglob("error.json")
    assert json.loads(path.read_text())["sentence"] == "ValueError: lr 0.001, patience [7]"


def test_a_job_that_leaves_no_result_has_not_ended(start, capsys):
    """Such as one that was killed while its model was loaded: nothing says that it began, nor that it failed."""

    def job(config, folder, choices):
        pass

    with pytest.raises(SystemExit) as end:
        start(job, "-m", "seed=1,2")
    assert end.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3].startswith("0  seed=1  failed  ended before it had begun, without a word")
    assert lines[-1] == "hear_exp: 2 of 2 jobs failed: 0, 1"


def test_the_table_commands_no_terminal(start, capsys):
    def job(config, folder, choices):
        raise UserError("bad \x1b[31mred\x07 \x1b]0;title\x07")

    with pytest.raises(SystemExit):
        start(job, "-m", "seed=1,2")
    error = capsys.readouterr().err
    assert "bad" in error
    assert not {"\x1b", "\x07"} & set(error)
