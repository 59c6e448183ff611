"""What a person chose: Hydra's parser and its record of a job say it."""

import pytest
from conftest import leave_result

from hear_exp.cli.choices import Choices


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
    assert choices.typed_options("predictor") == {"lr", "foo", "patience"}
    assert choices.typed_options("model") == set()
    assert choices.groups == {}


def test_an_experiments_files_are_choices(compose, mine):
    config, choices = compose("experiment=slow", *mine)
    assert (config["seed"], config["protocol"]["name"]) == (1, "fixed")
    assert choices.typed_options("predictor") == set()
    assert choices.groups["protocol"] == "fixed"


def test_a_predictors_own_file_says_its_defaults(compose, mine):
    _, choices = compose("predictor=small", *mine)
    assert choices.typed_options("predictor") == set()
    assert choices.groups == {"predictor": "small"}


def test_what_is_shipped_is_nobodys_choice(compose):
    _, choices = compose("embeddings=heareval", "embeddings.path=a/b", "task.path=x")
    assert not choices.touch("model")
    assert choices.touch("task")
    assert choices.typed_about("task", "paths") == ["task.path=x"]


@pytest.mark.slow
def test_choices_reach_a_job_of_a_sweep(start, mine):
    seen = []

    def job(config, folder, choices):
        seen.append(choices)
        leave_result(folder)

    start(job, "-m", "experiment=slow", "predictor.patience=1,2", *mine)
    assert [choices.typed_options("predictor") for choices in seen] == [{"patience"}] * 2
    composed = [choices.composition.with_task_settings({"predictor": {"lr": 5, "patience": 5}}) for choices in seen]
    assert [(each["predictor"]["lr"], each["predictor"]["patience"]) for each in composed] == [(1e-3, 1), (1e-3, 2)]


def test_what_is_typed_outside_of_groups():
    typed = ("model=crepe", "model/sub=x", "+model.a=1", "~models", "++seed=1", "model@there=x", "paths.root='model='")
    assert Choices(typed).typed_outside("model") == ["~models", "++seed=1", "paths.root='model='"]
