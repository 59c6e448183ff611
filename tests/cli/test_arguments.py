"""Flags among overrides, as people type them."""

import argparse

import pytest
from conftest import leave_result
from hydra._internal.utils import get_args_parser  # what our table is held against

from hear_exp.cli.arguments import FLAGS, flags_first


def test_the_table_has_the_flags_of_hydras_parser():
    """One that a new Hydra adds is missing in it, and would be taken for an override."""
    actions = [action for action in get_args_parser()._actions if action.option_strings]
    values = {tuple(action.option_strings): action.nargs for action in actions}
    ours = argparse.ArgumentParser(add_help=False)
    assert {names: ours.add_argument(*names, **reads).nargs for names, reads in FLAGS.items()} == values


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("model=logmel task=x -m predictor.lr=1,2", "-m model=logmel task=x predictor.lr=1,2"),
        ("a=1 --config-dir mine b=2 -m c=3", "--config-dir mine -m a=1 b=2 c=3"),
        ("a=1 --config-dir=mine b=2 --cfg job", "--config-dir=mine --cfg job a=1 b=2"),
        ("a=1 -cn other b=2 -c job -p model", "-cn other -c job -p model a=1 b=2"),
        ("a=1 --multi b=2", "--multi a=1 b=2"),
        ("same --config-dir same -m same", "--config-dir same -m same same"),
        ("+a=1 ~b ++c=-1 -m", "-m +a=1 ~b ++c=-1"),
        ("a=1 --info defaults b=1", "--info defaults a=1 b=1"),
        ("a=1 --what b=1 -m", "a=1 --what b=1 -m"),
        ("a=1 -cjob b=1 --config-n other", "-cjob --config-n other a=1 b=1"),
        ("a=1 --config- b=1 -m", "a=1 --config- b=1 -m"),
        ("a=1 -m b=1 --config-dir", "a=1 -m b=1 --config-dir"),
        ("a=1 --multirun=3 b=1", "a=1 --multirun=3 b=1"),
        ("a=1 --version b=1", "--version a=1 b=1"),
        ("", ""),
    ],
)
def test_flags_first(typed, expected):
    assert flags_first(typed.split()) == expected.split()


def test_a_flag_may_stand_among_the_overrides(start, tmp_path):
    jobs = []

    def job(config, folder, choices):
        jobs.append((config["model"]["name"], config["predictor"]["lr"], choices))
        leave_result(folder)

    start(
        job,
        *("model=naive", "task=demo_tags", "-m", "predictor.lr=1e-3,1e-4"),
    )
    assert [(model, lr, choices.overrides) for model, lr, choices in jobs] == [
        ("naive", lr, ("model=naive", "task=demo_tags", f"predictor.lr={text}"))
        for lr, text in ((1e-3, "0.001"), (1e-4, "0.0001"))
    ]
