"""Grid points: which, in which order, whose value wins, and a sentence for each value that cannot be."""

import math
from dataclasses import replace

import pytest
from omegaconf import OmegaConf
from tiny import FIXED, MLP

from hear_exp.cli.edge import conf_dir
from hear_exp.errors import UserError
from hear_exp.prediction.grid import apply_task_grid, expand_grid

HEAR2021 = replace(FIXED, grid_points=8)


def settings_of(name: str) -> dict:
    """A predictor's settings as shipped."""
    settings = OmegaConf.to_container(OmegaConf.load(conf_dir() / "predictor" / f"{name}.yaml"))
    assert settings.pop("name") == name
    return settings


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
    assert expand_grid(MLP, HEAR2021) == [MLP]
    assert expand_grid({**MLP, "lr": [1e-3]}, FIXED) == [{**MLP, "lr": 1e-3}]


def test_fewer_points_than_asked_for():
    assert len(expand_grid({**MLP, "lr": [1e-3, 1e-2]}, HEAR2021)) == 2


@pytest.mark.parametrize(("name", "points"), [("linear", 8), ("knn", 5)])
def test_other_predictors(name, points):
    assert len(expand_grid(settings_of(name), FIXED)) == points


# The task's own ---------------------------------------------------------------------------------------------


def test_the_task_wins_over_defaults_and_not_over_the_user():
    task_grid = {"max_epochs": [10, 50], "patience": [3], "hidden_norm": ["batch"]}
    assert apply_task_grid(MLP, task_grid, chosen=["patience"]) == {**MLP, "max_epochs": [10, 50]}
    assert apply_task_grid(MLP, {}, chosen=[]) == MLP
    assert MLP["max_epochs"] == 12  # what came in is left as it was


def test_the_task_has_no_say_in_what_a_predictor_does_not_have():
    knn = settings_of("knn")
    assert apply_task_grid(knn, {"max_epochs": [10], "batch_size": 64}, []) == {**knn, "batch_size": 64}


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
    for given in (value, [MLP[name], value]):  # alone, or one of several
        with pytest.raises(UserError) as error:
            expand_grid({**MLP, name: given}, FIXED)
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
        expand_grid({**settings_of("knn"), name: value}, FIXED)
    assert str(error.value) == f"predictor.{name} is {value!r}, {expected}"


def test_an_empty_list():
    with pytest.raises(UserError, match=r"^predictor\.lr is an empty list, expected a value or a list of values$"):
        expand_grid({**MLP, "lr": []}, FIXED)


@pytest.mark.parametrize(
    ("predictor", "name"), [("knn", "lr"), ("linear", "hidden_dim"), ("linear", "dropout"), ("mlp", "momentum")]
)
def test_a_setting_without_effect(predictor, name):
    with pytest.raises(UserError, match=rf"^predictor\.{name} has no effect on this predictor, whose options are: "):
        expand_grid({**settings_of(predictor), name: 1}, FIXED)


def test_a_setting_is_missing():
    settings = {name: value for name, value in MLP.items() if name != "patience"}
    with pytest.raises(UserError, match=r"^predictor\.patience is missing, and this predictor needs it$"):
        expand_grid(settings, FIXED)


def test_a_precision_without_effect_is_refused():
    from hear_exp.prediction.grid import check_precision

    neighbours, network = [{"k": 3}], [{"hidden_layers": 1}]
    for precision in ("32-true", "64-true"):
        check_precision(precision, neighbours)
    check_precision("16-mixed", network)
    with pytest.raises(UserError, match=r"^trainer\.precision=bf16-mixed has no effect on nearest neighbours"):
        check_precision("bf16-mixed", neighbours)
