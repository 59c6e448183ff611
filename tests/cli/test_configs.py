"""The shipped config files, as Hydra composes them."""

from hear_exp.cli.configs import near, shipped


def test_shipped_merges_defaults():
    fixed, published = shipped("protocol", "fixed"), shipped("protocol", "hear2021")
    assert fixed.keys() == published.keys()
    assert (fixed["name"], fixed["shuffle"], fixed["grid_seed"]) == ("fixed", True, 42)
    assert "defaults" not in fixed


def test_shipped_knows_nothing_of_others():
    assert shipped("protocol", "mine") == {}


def test_near():
    assert near("predictor.lrr") == ", did you mean predictor.lr?"
    assert near("predictor.zzzzz") == ""
