"""Who chose a value: Hydra's parser and composition say it."""

import pytest
from conftest import leave_result

from hear_exp.settings import plans

GLOBAL = "# @package _global_\n"


@pytest.fixture
def mine(tmp_path):
    """A --config-dir with an experiment and a predictor."""
    folder = tmp_path / "mine"
    for name, text in (
        (
            "experiment/slow",
            "# @package _global_\ndefaults:\n  - override /protocol: fixed\npredictor:\n  lr: 1e-3\nseed: 1\n",
        ),
        ("predictor/small", "defaults: [mlp, _self_]\nname: small\nhidden_dim: 8\n"),
    ):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return ["--config-dir", str(folder)]


def test_options_that_were_typed(compose):
    _, choices = compose(
        "predictor.lr=1e-3", "+predictor.foo=1", "++predictor.patience='a=b'", "predictor=mlp", "seed=1"
    )
    assert choices.options_in("predictor") == {"lr", "foo", "patience"}
    assert choices.options_in("model") == set()
    assert choices.groups == {}


def test_an_experiment_is_a_choice_also_of_what_is_the_default(compose, mine):
    config, choices = compose("experiment=slow", *mine)
    assert (config["seed"], config["protocol"]["name"]) == (1, "fixed")
    assert choices.options_in("predictor") == {"lr"}
    assert choices.groups["protocol"] == "fixed"


def test_a_predictors_own_file_says_its_defaults(compose, mine):
    _, choices = compose("predictor=small", *mine)
    assert choices.options_in("predictor") == set()
    assert choices.groups == {"predictor": "small"}


def test_what_is_shipped_is_nobodys_choice(compose):
    _, choices = compose("embeddings=heareval", "embeddings.path=a/b", "task.path=x")
    assert not choices.touch("model")
    assert choices.touch("task")
    assert choices.typed_about("task", "paths") == ["task.path=x"]


def test_choices_reach_a_job_of_a_sweep(start, mine):
    seen = []

    def job(config, folder, choices):
        seen.append(choices)
        leave_result(folder)

    start(job, "-m", "experiment=slow", "predictor.patience=1,2", *mine)
    assert [choices.options_in("predictor") for choices in seen] == [{"lr", "patience"}] * 2


def test_an_experiments_default_wins_over_the_task(compose, mine, tmp_path):
    """lr 1e-3 alone is not in the defaults' list; patience 20 is the default, which the task changes."""
    from tiny import write_task

    from hear_exp.tasks.folder import read_task

    params = {"task_specific_param_grid": {"patience": [3], "max_epochs": [50]}}
    task = read_task(write_task(tmp_path / "task", evaluation_params=params))
    path = tmp_path / "mine" / "experiment" / "patient.yaml"
    path.write_text(f"{GLOBAL}predictor:\n  patience: 20\n")
    config, choices = compose("experiment=patient", *mine)
    points = plans.make_grid(config, task, plans.make_protocol(config, task, choices)[0], choices)
    assert {(point.patience, point.max_epochs) for point in points} == {(20, 50)}
