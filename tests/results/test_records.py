"""Dataclasses <-> JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hear_exp.results.records import from_json, to_json


@dataclass(frozen=True)
class Part:
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Whole:
    name: str
    count: int
    on: bool
    parts: tuple[Part, ...]
    more: Mapping[str, Any] = field(default_factory=dict)


WHOLE = Whole("a", 1, True, (Part({"x": 0.5, "y": None, "z": math.inf, "w": -math.inf}),), {"k": [1, "inf"]})


def test_round_trip_with_infinite_and_undefined_values():
    content = to_json(WHOLE)
    assert content["parts"] == [{"scores": {"x": 0.5, "y": None, "z": "inf", "w": "-inf"}}]
    assert from_json(Whole, json.loads(json.dumps(content, allow_nan=False))) == WHOLE


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": 1}, "name is 1, expected text"),
        ({"count": 1.5}, "count is 1.5, expected a whole number"),
        ({"count": True}, "count is True, expected a whole number"),
        ({"on": 1}, "on is 1, expected true or false"),
        ({"parts": {}}, "parts is {}, expected a list"),
        ({"parts": [{"scores": {"x": "high"}}]}, "parts[0].scores.x is 'high', expected a number"),
        ({"parts": [{"scores": {"x": 10**400}}]}, "parts[0].scores.x is 1000"),
        ({"parts": [{"scores": []}]}, "parts[0].scores is [], expected a JSON object"),
        ({"parts": [None]}, "parts[0] is None, expected a JSON object"),
        ({"parts": [{}]}, "it lacks parts[0].scores"),
        ({"new": 1}, "'new' is not known here (a newer version of hear_exp may have it)"),
    ],
)
def test_what_does_not_fit_is_named(changes, sentence):
    with pytest.raises(ValueError, match=r".+") as error:
        from_json(Whole, {**to_json(WHOLE), **changes})
    assert str(error.value).startswith(sentence)
