"""Protocols: what they may hold, how a config becomes one, and in what 'fixed' differs from 'hear2021'."""

import dataclasses
import math

import pytest
from tiny import FIXED

from hear_exp.cli.composition import composed_file
from hear_exp.errors import UserError
from hear_exp.prediction.protocol import CHOICES, Protocol, changed_fields, protocol_from_config


def shipped_protocol(name: str) -> Protocol:
    return protocol_from_config(composed_file("protocol", name))


def test_hear2021_has_every_quirk():
    assert shipped_protocol("hear2021") == Protocol(
        name="hear2021",
        grid_points=8,
        grid_seed=42,
        shuffle=False,
        validation_without_events="stop",
        last_batch_of_one="error",
        postprocessing_choice="largest",
        event_end="last_frame",
        median_widths="as_computed",
        probabilities="float32",
        multilabel_accuracy="first_label",
        median_filter_ms=(250,),
        min_duration_ms=(125, 250),
    )


def test_fixed_differs_in_what_it_mends_and_nothing_else():
    assert changed_fields(shipped_protocol("fixed"), shipped_protocol("hear2021")) == {
        "name": "fixed",
        "grid_points": None,
        "shuffle": True,
        "validation_without_events": "zero",
        "last_batch_of_one": "join",
        "postprocessing_choice": "best",
        "event_end": "next_frame",
        "median_widths": "odd",
        "probabilities": "float64",
        "multilabel_accuracy": "any_label",
    }


def test_changed_fields():
    assert changed_fields(FIXED, FIXED) == {}
    changed = dataclasses.replace(FIXED, shuffle=False, min_duration_ms=(50,))
    assert changed_fields(changed, FIXED) == {"shuffle": False, "min_duration_ms": (50,)}


def test_one_value_or_a_list():
    config = dataclasses.asdict(FIXED)
    assert protocol_from_config({**config, "median_filter_ms": 150, "min_duration_ms": [50, 100.5]}) == (
        dataclasses.replace(FIXED, median_filter_ms=(150,), min_duration_ms=(50, 100.5))
    )


@pytest.mark.parametrize("field", CHOICES)
def test_choices(field):
    for value in CHOICES[field]:
        assert getattr(dataclasses.replace(FIXED, **{field: value}), field) == value
    with pytest.raises(UserError) as error:
        dataclasses.replace(FIXED, **{field: "other"})
    assert str(error.value) == f"protocol.{field} is 'other', expected one of: {', '.join(CHOICES[field])}"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("grid_points", 0, "expected a number from 1 up, or null for the whole grid"),
        ("grid_points", True, "expected a number from 1 up, or null for the whole grid"),
        ("grid_points", "all", "expected a number from 1 up, or null for the whole grid"),
        ("grid_seed", None, "expected a whole number"),
        ("grid_seed", 1.5, "expected a whole number"),
        ("shuffle", "yes", "expected true or false"),
    ],
)
def test_bad_values(field, value, expected):
    with pytest.raises(UserError) as error:
        dataclasses.replace(FIXED, **{field: value})
    assert str(error.value) == f"protocol.{field} is {value!r}, {expected}"


@pytest.mark.parametrize("field", ["median_filter_ms", "min_duration_ms"])
@pytest.mark.parametrize("value", [-1, "250", None, True, math.nan, math.inf])
def test_bad_milliseconds(field, value):
    config = dataclasses.asdict(FIXED)
    for given in (value, [250, value]):
        with pytest.raises(UserError, match=rf"^protocol\.{field} is \[.*\], expected milliseconds from 0 up$"):
            protocol_from_config({**config, field: given})
    with pytest.raises(UserError, match=rf"^protocol\.{field} is \[\], expected milliseconds from 0 up$"):
        protocol_from_config({**config, field: []})


def test_unknown_and_missing_fields():
    config = dataclasses.asdict(FIXED)
    with pytest.raises(UserError, match=r"^unknown option: protocol\.suffle; a protocol has: name, grid_points, "):
        protocol_from_config({**config, "suffle": True})
    for field in config:
        less = {name: value for name, value in config.items() if name != field}
        with pytest.raises(UserError, match=rf"^protocol\.{field} is missing"):
            protocol_from_config(less)
