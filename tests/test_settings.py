"""From a config to the objects of a run: whose value wins, and what is found out before any computing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import embed, write_task

from hear_exp import settings
from hear_exp.errors import UserError
from hear_exp.task import read_task

# Tasks and models -------------------------------------------------------------------------------------------


def test_custom_task(compose, tmp_path):
    folder = write_task(tmp_path / "mine")
    config, overrides = compose("task=custom", f"task.path={folder}")
    assert settings.load_task(config, overrides) == read_task(folder)


def test_custom_task_without_a_folder(compose):
    with pytest.raises(UserError, match=r"^task=custom needs the folder of the task: task\.path=FOLDER$"):
        settings.load_task(*compose("task=custom"))


def test_custom_task_whose_folder_is_missing(compose):
    with pytest.raises(UserError, match=r"^task folder not found: nowhere "):
        settings.load_task(*compose("task=custom", "task.path=nowhere"))


def test_any_hear_module(compose, tmp_path):
    weights = tmp_path / "w.txt"
    weights.write_text("2.0")
    config, _ = compose(
        "model=hear", "model.module=tiny_model", f"model.weights={weights}", "model.options={dim: 8}", "trainer=cpu"
    )
    encoder = settings.load_encoder(config)
    assert (encoder.name, encoder.device, encoder.dim("scene")) == ("tiny_model", torch.device("cpu"), 8)
    assert encoder.identity["options"] == {"dim": 8}
    assert len(encoder.identity["weights"]) == 1


def test_no_module(compose):
    with pytest.raises(UserError, match=r"^model hear: no module given \(model\.module=PACKAGE"):
        settings.load_encoder(compose("model=hear")[0])


# Protocol and grid ------------------------------------------------------------------------------------------


@pytest.fixture
def task(tmp_path):
    """A task with settings of its own, as MAESTRO has them."""
    params = {
        "task_specific_param_grid": {"max_epochs": [50], "lr": [0.5]},
        "event_postprocessing_grid": {"median_filter_ms": [150], "min_duration": [50]},
    }
    return read_task(write_task(tmp_path / "task", "events", clips=2, seconds=1.0, evaluation_params=params))


def test_the_task_wins_over_the_protocols_postprocessing(compose, task):
    config, overrides = compose()
    protocol, changes = settings.make_protocol(config, task, overrides)
    assert (protocol.name, protocol.median_filter_ms, protocol.min_duration_ms) == ("hear2021", (150,), (50,))
    assert changes == {}


def test_the_user_wins_over_the_task(compose, task):
    config, overrides = compose("protocol=fixed", "protocol.min_duration_ms=[100,200]", "protocol.shuffle=false")
    protocol, changes = settings.make_protocol(config, task, overrides)
    assert (protocol.median_filter_ms, protocol.min_duration_ms) == ((150,), (100, 200))
    assert changes == {"min_duration_ms": (100, 200), "shuffle": False}


def test_the_user_wins_with_the_default_as_well(compose, task):
    """Who types a value wants it, also where it is the shipped one."""
    config, overrides = compose("protocol.median_filter_ms=250", "predictor.max_epochs=500")
    protocol, changes = settings.make_protocol(config, task, overrides)
    assert (protocol.median_filter_ms, protocol.min_duration_ms) == ((250,), (50,))
    assert changes == {}
    points = settings.make_grid(config, task, protocol, overrides)
    assert {(point["max_epochs"], point["lr"]) for point in points} == {(500, 0.5)}


def test_the_task_wins_over_the_predictors_defaults(compose, task):
    config, overrides = compose()
    protocol, _ = settings.make_protocol(config, task, overrides)
    points = settings.make_grid(config, task, protocol, overrides)
    assert len(points) == 4  # two layers, two initializations, one lr
    assert {(point["max_epochs"], point["lr"]) for point in points} == {(50, 0.5)}


def test_a_list_is_searched_and_a_value_is_fixed(compose, task):
    config, overrides = compose(
        "protocol=fixed", "predictor=linear", "predictor.lr=[1e-3,1e-4]", "predictor.patience=5"
    )
    protocol, _ = settings.make_protocol(config, task, overrides)
    points = settings.make_grid(config, task, protocol, overrides)
    assert [point["lr"] for point in points] == [1e-3, 1e-4, 1e-3, 1e-4]
    assert {(point["patience"], point["max_epochs"]) for point in points} == {(5, 50)}


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
def test_bad_options(compose, task, override, sentence):
    config, overrides = compose(override)

    def check_everything():
        settings.check_options(config)
        settings.make_grid(config, task, settings.make_protocol(config, task, overrides)[0], overrides)

    with pytest.raises(UserError, match=sentence):
        check_everything()


@pytest.mark.parametrize("options", ["[1]", "abc"])
def test_model_options_are_names_and_values(compose, options):
    config, _ = compose("model=hear", "model.module=tiny_model", f"model.options={options}")
    with pytest.raises(UserError, match=r"^model\.options is .*, expected names and values: \{name: value\}$"):
        settings.load_encoder(config)


def test_a_tasks_own_postprocessing_may_be_one_value_but_not_any(compose, task):
    config, overrides = compose()
    one = replace(task, postprocessing_grid={"median_filter_ms": 150})
    assert settings.make_protocol(config, one, overrides)[0].median_filter_ms == (150,)
    bad = replace(task, postprocessing_grid={"min_duration": ["long"]})
    with pytest.raises(UserError, match=r"event_postprocessing_grid\.min_duration is \['long'\], expected"):
        settings.make_protocol(config, bad, overrides)


# Targets and the problem ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_scene_targets_belong_to_their_rows(tmp_path, kind):
    task, embedded = embed(write_task(tmp_path / "task", kind), tmp_path / "cache")
    targets = settings.task_targets(task, embedded.embeddings)
    assert (targets.shape, targets.dtype) == ((36, 3), np.uint8)
    seen = set()
    for split in task.splits:
        labels = {clip.name: clip.labels for clip in split.clips}
        for clip in embedded.embeddings.splits[split.name]:
            found = tuple(task.labels[i] for i in np.flatnonzero(targets[clip.start]))
            assert found == labels[clip.name]
            seen.add(found)
    assert (() in seen) == (kind == "multilabel")


def test_event_targets_belong_to_their_frames(tmp_path):
    """Frames of 50 ms, centred 25 ms in: an event from 200 to 600 ms is in frames 4 to 11 of its clip."""
    task, embedded = embed(write_task(tmp_path / "task", "events", clips=3, seconds=1.0), tmp_path / "cache")
    targets = settings.task_targets(task, embedded.embeddings)
    assert targets.shape == (9 * 20, 3)
    for split in task.splits:
        events = {clip.name: clip.events for clip in split.clips}
        for clip in embedded.embeddings.splits[split.name]:
            expected = np.zeros((20, 3))
            (event,) = events[clip.name]
            expected[4:12, task.labels.index(event.label)] = 1
            assert np.array_equal(targets[clip.start : clip.start + clip.count], expected)


def test_problem(compose, tmp_path):
    task, embedded = embed(write_task(tmp_path / "task"), tmp_path / "cache")
    config, overrides = compose("seed=7", "search.threads=2", "data.in_memory=false", "trainer=cpu")
    protocol, _ = settings.make_protocol(config, task, overrides)
    folder = tmp_path / "run"
    folder.mkdir()
    with settings.make_problem(config, task, embedded.embeddings, protocol, torch.device("cpu"), folder) as problem:
        assert (problem.seed, problem.threads, problem.in_memory) == (7, 2, False)
        assert (problem.accelerator, problem.precision) == ("cpu", "32-true")
        assert np.array_equal(problem.targets(), settings.task_targets(task, embedded.embeddings))
        assert replace(problem, task=task) == problem
    assert list(folder.iterdir()) == []
