"""Any value of a download's option is taken, or a sentence."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hear_exp.download.__main__ import Options
from hear_exp.errors import UserError

DEFAULTS = {"mirror": None, "archive": None, "resample": None, "yes": False, "ask_above_gb": 5}
DEFAULTS |= {"record": "", "attempts": 8, "pause_s": 1}
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.lists(st.integers()))


@pytest.mark.slow
@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.sampled_from(["resample", "yes", "ask_above_gb", "attempts", "pause_s"]), VALUES)
@example("pause_s", float("nan"))
@example("pause_s", float("inf"))
@example("resample", [True])
@example("resample", [])
@example("ask_above_gb", float("nan"))
def test_any_value_is_taken_or_a_sentence(name, value):
    try:
        options = Options(**DEFAULTS | {name: value})
        patience = options.patience
    except UserError:
        return
    assert 0 <= patience.pause_s < float("inf")
    assert options.ask_above_gb == options.ask_above_gb  # no NaN, with which nothing would ever be asked
    assert all(rate > 0 for rate in options.rates)
