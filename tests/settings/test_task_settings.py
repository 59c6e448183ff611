"""A task's own settings: a person's over the task's over the defaults, wherever a person put theirs."""

import shutil
from dataclasses import replace

import pytest
from tiny import write_task

from hear_exp.cli.composition import composed_file, conf_dir
from hear_exp.errors import UserError
from hear_exp.settings import plans
from hear_exp.settings.task_settings import predictor_settings, protocol_changes, with_task_settings
from hear_exp.tasks.folder import read_task

pytestmark = pytest.mark.slow

GLOBAL = "# @package _global_\n"
LINEAR = "_target_: hear_exp.prediction.mlp.Linear"
CPU = "trainer:\n  accelerator: cpu\n  precision: 32-true\n"
MLP = {"max_epochs": 500, "patience": 20, "lr": [3.2e-3, 1e-3, 3.2e-4, 1e-4]}
TASK = {"max_epochs": [50], "patience": [3]}


@pytest.fixture
def task(tmp_path):
    """A task with settings of its own, for events."""
    params = {"task_specific_param_grid": TASK, "event_postprocessing_grid": {"median_filter_ms": [150]}}
    return read_task(write_task(tmp_path / "task", "events", clips=2, seconds=1.0, evaluation_params=params))


@pytest.fixture
def settled(settings_of, tmp_path, task):
    """settled({"predictor/mine": TEXT}, "predictor=mine", ...): predictor and protocol with files of one's own."""

    def settle(files, *typed):
        for name, text in files.items():
            path = tmp_path / "mine" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        settings, choices = settings_of(*typed, *(["--config-dir", str(tmp_path / "mine")] if files else []))
        settings = with_task_settings(settings, task, choices)
        return settings.predictor.hyperparameters, settings.protocol

    return settle


@pytest.mark.parametrize(
    ("files", "typed", "expected"),
    [
        ({}, [], {**MLP, **TASK}),
        ({}, ["predictor.patience=20"], {**MLP, **TASK, "patience": 20}),
        ({}, ["++predictor.patience=[20]"], {**MLP, **TASK, "patience": [20]}),
        ({}, ["predictor=linear"], {**MLP, **TASK}),
        ({}, ["predictor=[mlp,linear]"], {**MLP, **TASK}),
        # An experiment.
        ({"experiment/e": f"{GLOBAL}predictor:\n  lr: 1e-3\n"}, ["experiment=e"], {**TASK, "lr": 1e-3}),
        ({"experiment/e": f"{GLOBAL}predictor:\n  patience: 20\n"}, ["experiment=e"], {**MLP, **TASK, "patience": 20}),
        (
            {"experiment/e": f"{GLOBAL}predictor:\n  patience: 20\n"},
            ["experiment=e", "predictor.patience=4"],
            {**MLP, **TASK, "patience": 4},
        ),
        (
            {"experiment/e": f"{GLOBAL}defaults:\n  - override /predictor: linear\npredictor:\n  patience: 20\n"},
            ["experiment=e"],
            {**MLP, **TASK, "patience": 20},
        ),
        (
            {
                "experiment/e": f"{GLOBAL}predictor:\n  patience: 20\n",
                "experiment/f": f"{GLOBAL}predictor:\n  max_epochs: 9\n",
            },
            ["experiment=[e,f]"],
            {**MLP, "max_epochs": 9, "patience": 20},
        ),
        # A predictor's file says what it is, and a task has its settings for whichever it is.
        ({"predictor/p": "defaults: [mlp, _self_]\npatience: 7\nlr: 7\n"}, ["predictor=p"], {**TASK, "lr": 7}),
        (
            {"predictor/p": f"{GLOBAL}predictor:\n  name: p\n  {LINEAR}\n  patience: 7\n  lr: 7\n  max_epochs: 8\n"},
            ["predictor=p"],
            {**TASK, "lr": 7},
        ),
        (
            {"predictor/sub/p": f"name: p\n{LINEAR}\npatience: 7\nlr: 7\n"},
            ["predictor=sub/p"],
            {"patience": [3], "lr": 7},
        ),
        # A config of one's own that starts from ours.
        (
            {"own": "defaults: [config, _self_]\npredictor:\n  patience: 20\n"},
            ["--config-name", "own"],
            {**MLP, **TASK, "patience": 20},
        ),
        (
            {"own": "defaults: [_self_, config]\npredictor:\n  patience: 20\n"},  # over which ours comes
            ["--config-name", "own"],
            {**MLP, **TASK},
        ),
        # A file of another group that comes after the predictor.
        ({"trainer/t": f"{GLOBAL}{CPU}predictor:\n  patience: 20\n"}, ["trainer=t"], {**MLP, **TASK, "patience": 20}),
    ],
)
def test_whose_setting_of_the_predictor_wins(settled, files, typed, expected):
    predictor, _ = settled(files, *typed)
    assert {name: predictor.get(name) for name in MLP if name in predictor} == expected


@pytest.mark.parametrize(
    ("files", "typed", "expected"),
    [
        ({}, [], (150,)),
        ({}, ["protocol=fixed"], (150,)),
        ({}, ["protocol.median_filter_ms=[250]"], (250,)),
        ({"experiment/e": f"{GLOBAL}protocol:\n  median_filter_ms: [250]\n"}, ["experiment=e"], (250,)),
        ({"own": "defaults: [config, _self_]\nprotocol:\n  median_filter_ms: 70\n"}, ["--config-name", "own"], (70,)),
        # What is called hear2021 is hereby changed; a protocol with a name of its own has its own defaults.
        ({"protocol/p": "defaults: [hear2021, _self_]\nmedian_filter_ms: [9]\n"}, ["protocol=p"], (9,)),
        ({"protocol/p": "defaults: [hear2021, _self_]\nmedian_filter_ms: [9]\nname: p\n"}, ["protocol=p"], (150,)),
    ],
)
def test_whose_postprocessing_wins(settled, files, typed, expected):
    _, protocol = settled(files, *typed)
    assert protocol.median_filter_ms == expected
    assert protocol.min_duration_ms == (125, 250)


def test_a_searchpath_of_ones_own_is_searched_again(settled, tmp_path):
    path = tmp_path / "elsewhere" / "predictor" / "p.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("defaults: [mlp, _self_]\npatience: 7\nlr: 7\n")
    predictor, _ = settled({}, f"hydra.searchpath=[file://{tmp_path}/elsewhere]", "predictor=p")
    assert (predictor["lr"], predictor["patience"]) == (7, [3])


def test_a_folder_of_configs_of_ones_own(settled, tmp_path):
    """--config-path: a copy of ours that says more."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    path = tmp_path / "conf" / "predictor" / "mlp.yaml"
    path.write_text(path.read_text() + "weight_decay: 0\n")
    predictor, _ = settled({}, "--config-path", str(tmp_path / "conf"), "predictor.lr=2")
    mlp = {name: value for name, value in composed_file("predictor", "mlp").items() if name not in ("name", "_target_")}
    assert predictor == {**mlp, **TASK, "lr": 2, "weight_decay": 0}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["task=custom"], [7]),
        (["task=maestro_5h", "task.predictor_grid.max_epochs=[9]"], [7]),
        (["task=custom", "predictor.max_epochs=500"], 500),
    ],
)
def test_the_archive_wins_over_the_tasks_file_and_the_user_over_both(settings_of, tmp_path, typed, expected):
    """MAESTRO's file says max_epochs 50, as its archive may; this one says 7."""
    params = {"task_specific_param_grid": {"max_epochs": [7]}}
    folder = write_task(tmp_path / "m", "events", clips=1, folds=3, task_name="maestro", evaluation_params=params)
    settings, choices = settings_of(*typed, f"task.path={folder}")
    settled = with_task_settings(settings, plans.load_task(settings, choices), choices)
    assert settled.predictor.hyperparameters["max_epochs"] == expected
    assert (settled.protocol.median_filter_ms, settled.protocol.min_duration_ms) == ((150,), (50,))


def test_parts_have_each_their_own(settings_of, tmp_path):
    names = ("beehive_states_fold0-v2-full", "beehive_states_fold1-v2-full")
    for number, name in enumerate(names):
        params = {"task_specific_param_grid": {"max_epochs": [7 + number]}}
        write_task(tmp_path / name, clips=8, evaluation_params=params)
    settings, choices = settings_of("task=beehive_states", f"task.path={tmp_path}", "predictor.patience=1")
    made = plans.make_plans(settings, tmp_path / "run", choices)
    assert [{(point.max_epochs, point.patience) for point in plan.points} for plan in made] == [{(7, 1)}, {(8, 1)}]


def test_a_task_without_settings_leaves_the_settings_as_they_are(settings_of, task):
    settings, choices = settings_of()
    assert with_task_settings(settings, replace(task, predictor_grid={}, postprocessing_grid={}), choices) is settings


def test_what_the_predictor_does_not_have_is_left_out(task):
    knn = composed_file("predictor", "knn")
    task = replace(task, predictor_grid={"max_epochs": [10], "batch_size": 64, "name": "x", "_target_": "os.system"})
    assert predictor_settings(task, {**knn, "_target_": "mine.Knn"}) == {"batch_size": 64}
    assert predictor_settings(task, knn, typed=["batch_size"]) == {}


def test_an_option_that_was_added_by_hand_is_the_users(settled):
    predictor, _ = settled({}, "predictor=knn", "+predictor.max_epochs=4")
    assert predictor["max_epochs"] == 4


@pytest.mark.parametrize("value", ["${oc.env:HOME}", ["???"]])
def test_metadata_is_not_a_config(task, value):
    task = replace(task, predictor_grid={"lr": value})
    with pytest.raises(UserError, match=r"task_specific_param_grid\.lr is .+, expected a plain value$"):
        predictor_settings(task, composed_file("predictor", "mlp"))


def test_changes_are_those_against_the_shipped_protocol_of_that_name(settings_of):
    assert protocol_changes(settings_of("protocol=fixed")[0].protocol) == {}
    settings, _ = settings_of("protocol=fixed", "protocol.min_duration_ms=5", "protocol.shuffle=false")
    assert protocol_changes(settings.protocol) == {"min_duration_ms": (5,), "shuffle": False}
    assert protocol_changes(replace(settings.protocol, name="mine")) == {}


@pytest.mark.parametrize(
    ("text", "group"),
    [("task:\n  path: x\n", "task"), ("task:\n  leaderboard: x\n", "task"), ("model:\n  weights: w.pt\n", "model")],
)
def test_an_experiment_has_no_say_in_what_heareval_embedded(settings_of, tmp_path, text, group):
    path = tmp_path / "mine" / "experiment" / "e.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(GLOBAL + text)
    given = ["embeddings=heareval", f"embeddings.path={tmp_path}/gone"]
    with pytest.raises(UserError, match=r"^task folder not found"):
        plans.load_tasks(*settings_of(*given))
    settings, choices = settings_of(*given, "experiment=e", "--config-dir", str(tmp_path / "mine"))
    with pytest.raises(UserError, match=f"^{group} has no effect with embeddings=heareval"):
        plans.load_tasks(settings, choices)
