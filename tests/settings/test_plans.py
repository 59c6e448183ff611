"""From a config to what a run will do: whose value wins, and what is found out before any computing."""

import subprocess
import sys
from dataclasses import replace

import pytest
from tiny import write_task

from hear_exp.cli.configs import task_configs
from hear_exp.errors import UserError
from hear_exp.settings import plans
from hear_exp.settings.task_settings import protocol_changes
from hear_exp.tasks.folder import read_task

# Tasks -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_custom_task(settings_of, tmp_path):
    folder = write_task(tmp_path / "mine")
    settings, choices = settings_of("task=custom", f"task.path={folder}")
    assert plans.load_task(settings, choices) == replace(read_task(folder), early_stop_on_score=True)


def test_custom_task_without_a_folder(settings_of):
    with pytest.raises(UserError, match=r"^task=custom needs the folder of the task: task\.path=FOLDER$"):
        plans.load_task(*settings_of("task=custom"))


def test_custom_task_whose_folder_is_missing(settings_of):
    with pytest.raises(UserError, match=r"^task folder not found: nowhere "):
        plans.load_task(*settings_of("task=custom", "task.path=nowhere"))


@pytest.mark.slow
@pytest.mark.parametrize(("spoken", "expected"), [(None, False), (True, True), (False, False)])
def test_metadata_that_speaks_of_early_stopping_wins_over_the_config(settings_of, tmp_path, spoken, expected):
    """HEAR stops MAESTRO's fits by their loss, and its archive does not say so."""
    says = {} if spoken is None else {"use_scoring_for_early_stopping": spoken}
    metadata = {"task_name": task_configs()["maestro_5h"]["task_name"], **says}
    folder = write_task(tmp_path / "mine", "events", **metadata)
    task = plans.load_task(*settings_of("task=custom", f"task.path={folder}"))
    assert task.early_stop_on_score is expected


@pytest.mark.slow
def test_a_task_is_read_once_for_all_jobs_of_a_sweep(settings_of, tmp_path, monkeypatch):
    folder = write_task(tmp_path / "mine")
    read = []
    monkeypatch.setattr(plans, "read_task", lambda folder, **options: read.append(folder) or read_task(folder))
    for _ in range(3):
        plans.check(*settings_of("task=custom", f"task.path={folder}"))
    assert read == [folder]
    metadata = folder / "task_metadata.json"
    metadata.write_text(metadata.read_text() + "\n")
    plans.check(*settings_of("task=custom", f"task.path={folder}"))
    assert read == [folder, folder]


# Errors before torch ----------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys
for name in ("torch", "pytorch_lightning", "wandb", "matplotlib"):
    sys.modules[name] = None  # importing it raises
from hear_exp.__main__ import run
from hear_exp.cli.edge import start
for line in sys.stdin.read().splitlines():
    sys.argv[1:] = line.split()
    try:
        start(run)
    except SystemExit as end:
        print(end.code, file=sys.stderr)
"""


@pytest.mark.slow
def test_mistakes_are_found_before_torch_is_imported(tmp_path):
    cases = {
        "seed=abc": "seed is 'abc', expected",
        "task=custom task.path=nowhere": "task folder not found: nowhere",
        "task=esc50": "esc50 is not there yet",
        "model=hear model.module=no_such_module": "module no_such_module is not installed",
        "model=wav2vec2 model.weights=gone.pt": "weights file not found: gone.pt",
        "trainer.accelerator=abacus": "trainer.accelerator is 'abacus', expected",
        "predictor.lr=fast": "predictor.lr is 'fast', expected",
        "protocol.grid_points=0": "protocol.grid_points is 0, expected",
        "embeddings=heareval embeddings.path=nowhere": "task folder not found: nowhere",
    }
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, input="\n".join(cases), capture_output=True, text=True, cwd=tmp_path, timeout=120)
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["1"] * len(cases), done.stderr
    for line, sentence in zip(lines[::2], cases.values(), strict=True):
        assert line.startswith("hear_exp: ")
        assert sentence in line
    assert list(tmp_path.iterdir()) == []


# Protocol and grid ------------------------------------------------------------------------------------------


@pytest.fixture
def task(tmp_path):
    """A task with settings of its own, as MAESTRO has them."""
    params = {
        "task_specific_param_grid": {"max_epochs": [50], "lr": [0.5]},
        "event_postprocessing_grid": {"median_filter_ms": [150], "min_duration": [50]},
    }
    return read_task(write_task(tmp_path / "task", "events", clips=2, seconds=1.0, evaluation_params=params))


def test_the_task_wins_over_the_protocols_postprocessing(settings_of, task):
    settings, choices = settings_of()
    protocol, _ = plans.protocol_and_grid(settings, task, choices)
    assert (protocol.name, protocol.median_filter_ms, protocol.min_duration_ms) == ("hear2021", (150,), (50,))
    assert protocol_changes(settings.protocol) == {}


def test_the_user_wins_over_the_task(settings_of, task):
    settings, choices = settings_of("protocol=fixed", "protocol.min_duration_ms=[100,200]", "protocol.shuffle=false")
    protocol, _ = plans.protocol_and_grid(settings, task, choices)
    assert (protocol.median_filter_ms, protocol.min_duration_ms) == ((150,), (100, 200))
    assert protocol_changes(settings.protocol) == {"min_duration_ms": (100, 200), "shuffle": False}


def test_the_user_wins_with_the_default_as_well(settings_of, task):
    """Who types a value wants it, also where it is the shipped one."""
    settings, choices = settings_of("protocol.median_filter_ms=250", "predictor.max_epochs=500")
    protocol, points = plans.protocol_and_grid(settings, task, choices)
    assert (protocol.median_filter_ms, protocol.min_duration_ms) == ((250,), (50,))
    assert protocol_changes(settings.protocol) == {}
    assert {(point.max_epochs, point.lr) for point in points} == {(500, 0.5)}


def test_the_task_wins_over_the_predictors_defaults(settings_of, task):
    settings, choices = settings_of()
    _, points = plans.protocol_and_grid(settings, task, choices)
    assert len(points) == 4  # two layers, two initializations, one lr
    assert {(point.max_epochs, point.lr) for point in points} == {(50, 0.5)}


def test_a_list_is_searched_and_a_value_is_fixed(settings_of, task):
    settings, choices = settings_of(
        "protocol=fixed", "predictor=linear", "predictor.lr=[1e-3,1e-4]", "predictor.patience=5"
    )
    _, points = plans.protocol_and_grid(settings, task, choices)
    assert [point.lr for point in points] == [1e-3, 1e-4, 1e-3, 1e-4]
    assert {(point.patience, point.max_epochs) for point in points} == {(5, 50)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("predictor.lr=fast", r"^predictor\.lr is 'fast', expected a number above 0$"),
        ("+predictor.momentum=0.9", r"^predictor\.momentum has no effect on this predictor"),
        ("predictor.max_epochs=2", r"^predictor\.max_epochs=2 ends before the first validation "),
        ("search.workers=0", r"^search\.workers is 0, expected"),
        ("search.threads=none", r"^search\.threads is 'none', expected"),
        ("protocol.event_end=never", r"^protocol\.event_end is 'never', expected one of: "),
        ("+protocol.suffle=true", r"^unknown option: protocol\.suffle; a protocol has: "),
        ("protocol.grid_points=0", r"^protocol\.grid_points is 0, expected"),
        ("seed=-1", r"^seed is -1, expected a whole number from 0 up$"),
        ("seed=null", r"^seed is None, expected"),
        ("data.in_memory=maybe", r"^data\.in_memory is 'maybe', expected true, false or auto$"),
        ("trainer.precision=foo", r"^trainer\.precision is 'foo', expected one of: 32-true, "),
        ("~predictor.name", r"^predictor\.name is missing"),
    ],
)
def test_bad_options(settings_of, task, override, sentence):
    with pytest.raises(UserError, match=sentence):
        (lambda settings, choices: plans.protocol_and_grid(settings, task, choices))(*settings_of(override))


def test_a_tasks_own_postprocessing_may_be_one_value_but_not_any(settings_of, task):
    settings, choices = settings_of()
    one = replace(task, postprocessing_grid={"median_filter_ms": 150})
    assert plans.protocol_and_grid(settings, one, choices)[0].median_filter_ms == (150,)
    bad = replace(task, postprocessing_grid={"min_duration": ["long"]})
    with pytest.raises(UserError, match=r"event_postprocessing_grid\.min_duration is \['long'\], expected"):
        plans.protocol_and_grid(settings, bad, choices)
