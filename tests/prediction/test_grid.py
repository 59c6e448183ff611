"""Grid points: which, in which order, whose value wins, and a sentence for each value that cannot be."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from omegaconf import OmegaConf
from tiny import FIXED, SETTINGS, knn, mlp

from hear_exp.cli.edge import conf_dir
from hear_exp.errors import UserError
from hear_exp.prediction.grid import expand_grid as expand
from hear_exp.prediction.mlp import MLP
from hear_exp.prediction.predictor import Predictor, find_predictor
from hear_exp.prediction.protocol import Protocol

HEAR2021 = replace(FIXED, grid_points=8)


def shipped(name: str) -> tuple[type[Predictor], dict[str, Any]]:
    """A predictor's class and its settings as shipped."""
    settings = OmegaConf.to_container(OmegaConf.load(conf_dir() / "predictor" / f"{name}.yaml"))
    assert settings.pop("name") == name
    return find_predictor(settings.pop("_target_")), settings


def settings_of(name: str) -> dict[str, Any]:
    return shipped(name)[1]


def expand_grid(settings: Mapping[str, Any], protocol: Protocol, name: str = "mlp") -> list[dict[str, Any]]:
    """The hyperparameters of the grid points of ``settings`` of a shipped predictor."""
    return [point.hyperparameters for point in expand(shipped(name)[0], settings, protocol)]


# Points -----------------------------------------------------------------------------------------------------


def test_the_published_points():
    """The table in protocol.md, in its order."""
    points = expand_grid(settings_of("mlp"), HEAR2021)
    assert [(p["hidden_layers"], p["lr"], p["initialization"].removeprefix("xavier_")) for p in points] == [
        (1, 1e-4, "normal"),
        (2, 1e-3, "uniform"),
        (1, 1e-3, "normal"),
        (1, 3.2e-4, "normal"),
        (2, 3.2e-4, "normal"),
        (2, 3.2e-4, "uniform"),
        (2, 3.2e-3, "normal"),
        (2, 3.2e-3, "uniform"),
    ]
    for point in points:
        assert {name: point[name] for name in ("hidden_dim", "dropout", "batch_size")} == {
            "hidden_dim": 1024,
            "dropout": 0.1,
            "batch_size": 1024,
        }
        assert (point["max_epochs"], point["check_val_every_n_epoch"], point["patience"]) == (500, 3, 20)


def test_the_whole_grid():
    points = expand_grid(settings_of("mlp"), FIXED)
    assert len(points) == 16
    assert len({(p["hidden_layers"], p["lr"], p["initialization"]) for p in points}) == 16
    assert [p["lr"] for p in points[:4]] == [3.2e-3, 1e-3, 3.2e-4, 1e-4]  # by name, the last one fastest
    assert [p["hidden_layers"] for p in points] == [1] * 8 + [2] * 8
    assert [p["initialization"][7] for p in points] == (["u"] * 4 + ["n"] * 4) * 2


def test_another_seed_draws_other_points():
    drawn = [expand_grid(settings_of("mlp"), replace(HEAR2021, grid_seed=seed)) for seed in (42, 43)]
    assert [len(points) for points in drawn] == [8, 8]
    assert drawn[0] != drawn[1]


def test_a_pinned_value_is_no_axis():
    points = expand_grid({**settings_of("mlp"), "lr": 1e-3}, FIXED)
    assert len(points) == 4
    assert {point["lr"] for point in points} == {1e-3}
    assert expand_grid(SETTINGS, HEAR2021) == [SETTINGS]
    assert expand_grid({**SETTINGS, "lr": [1e-3]}, FIXED) == [{**SETTINGS, "lr": 1e-3}]


def test_fewer_points_than_asked_for():
    assert len(expand_grid({**SETTINGS, "lr": [1e-3, 1e-2]}, HEAR2021)) == 2


@pytest.mark.parametrize(("name", "points"), [("linear", 8), ("knn", 5)])
def test_other_predictors(name, points):
    assert len(expand_grid(settings_of(name), FIXED, name)) == points


# Bad values -------------------------------------------------------------------------------------------------

WHOLE = "expected a whole number from 1 up"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden_layers", -1, "expected a whole number from 0 to 10"),
        ("hidden_layers", 1.0, "expected a whole number from 0 to 10"),
        ("hidden_layers", True, "expected a whole number from 0 to 10"),
        ("hidden_layers", None, "expected a whole number from 0 to 10"),
        ("hidden_dim", 0, WHOLE),
        ("batch_size", 0, WHOLE),
        ("batch_size", "all", WHOLE),
        ("max_epochs", 0, WHOLE),
        ("check_val_every_n_epoch", 0, WHOLE),
        ("patience", 0, WHOLE),
        ("dropout", 1.0, "expected a number from 0 to below 1"),
        ("dropout", -0.1, "expected a number from 0 to below 1"),
        ("lr", 0, "expected a number above 0"),
        ("lr", -1e-3, "expected a number above 0"),
        ("lr", "fast", "expected a number above 0"),
        ("lr", math.nan, "expected a number above 0"),
        ("lr", math.inf, "expected a number above 0"),
        ("initialization", "zeros", "expected one of: xavier_uniform, xavier_normal"),
    ],
)
def test_bad_values(name, value, expected):
    sentence = f"predictor.{name} is {value!r}, {expected}"
    for given in (value, [SETTINGS[name], value]):  # alone, or one of several
        with pytest.raises(UserError) as error:
            expand_grid({**SETTINGS, name: given}, FIXED)
        assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("k", 0, WHOLE),
        ("temperature", 0, "expected a number above 0"),
        ("metric", "manhattan", "expected one of: cosine, euclidean"),
    ],
)
def test_bad_values_of_neighbours(name, value, expected):
    with pytest.raises(UserError) as error:
        expand_grid({**settings_of("knn"), name: value}, FIXED, "knn")
    assert str(error.value) == f"predictor.{name} is {value!r}, {expected}"


def test_an_empty_list():
    with pytest.raises(UserError, match=r"^predictor\.lr is an empty list, expected a value or a list of values$"):
        expand_grid({**SETTINGS, "lr": []}, FIXED)


@pytest.mark.parametrize(
    ("predictor", "name"), [("knn", "lr"), ("linear", "hidden_dim"), ("linear", "dropout"), ("mlp", "momentum")]
)
def test_a_setting_without_effect(predictor, name):
    with pytest.raises(UserError, match=rf"^predictor\.{name} has no effect on this predictor, whose options are: "):
        expand_grid({**settings_of(predictor), name: 1}, FIXED, predictor)


def test_a_setting_is_missing():
    settings = {name: value for name, value in SETTINGS.items() if name != "patience"}
    with pytest.raises(UserError, match=r"^predictor\.patience is missing, and this predictor needs it$"):
        expand_grid(settings, FIXED)


def test_a_precision_without_effect_is_refused():
    for precision in ("32-true", "64-true"):
        knn().check_precision(precision)
    mlp().check_precision("16-mixed")
    with pytest.raises(UserError, match=r"^trainer\.precision=bf16-mixed has no effect on nearest neighbours"):
        knn().check_precision("bf16-mixed")


def test_epochs_that_end_before_the_first_validation():
    """Of the points that are searched; others of the grid may be so."""
    sentence = r"^predictor\.max_epochs=2 ends before the first validation \(predictor\.check_val_every_n_epoch=3\)$"
    with pytest.raises(UserError, match=sentence):
        expand(MLP, {**SETTINGS, "max_epochs": [12, 2]}, FIXED)
    protocol = replace(HEAR2021, grid_points=1)
    drawn = {p.max_epochs for p in expand(MLP, {**SETTINGS, "max_epochs": [3, 4]}, protocol)}
    (left_out,) = {3, 4} - drawn
    settings = {**SETTINGS, "max_epochs": [2 if epochs == left_out else epochs for epochs in (3, 4)]}
    assert [p.max_epochs for p in expand(MLP, settings, protocol)] == [*drawn]


# Which class ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            None,
            r"^predictor\._target_ is missing: it names the predictor's class, such as hear_exp\.prediction\.mlp\.MLP",
        ),
        ("", r"^predictor\._target_ is missing"),
        ("MLP", r"^predictor\._target_ is 'MLP', expected the dotted name of a class on the Python path"),
        (7, r"^predictor\._target_ is 7, expected the dotted name"),
        ("no_such_module.Head", r"^predictor\._target_ is 'no_such_module\.Head', .*No module named 'no_such_module'$"),
        (
            "hear_exp.prediction.mlp.Mlp",
            r"^predictor\._target_ is 'hear_exp\.prediction\.mlp\.Mlp', .*has no attribute 'Mlp'",
        ),
        ("torch.nn.Linear", r"expected a class derived from hear_exp\.prediction\.predictor\.TrainedPredictor or"),
        ("math.pi", r"expected a class derived from"),
    ],
)
def test_a_target_that_is_no_predictor(target, sentence):
    with pytest.raises(UserError, match=sentence):
        find_predictor(target)
