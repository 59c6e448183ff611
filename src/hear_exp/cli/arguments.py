"""What was typed: Hydra's flags and the overrides among them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

# Hydra's flags as its documentation lists them, and the keywords with which argparse reads their values.
_SWITCH: dict[str, Any] = {"action": "store_true"}
FLAGS: dict[tuple[str, ...], dict[str, Any]] = {
    ("--help", "-h"): _SWITCH,
    ("--hydra-help",): _SWITCH,
    ("--version",): _SWITCH,
    ("--cfg", "-c"): {},
    ("--resolve",): _SWITCH,
    ("--package", "-p"): {},
    ("--run", "-r"): _SWITCH,
    ("--multirun", "-m"): _SWITCH,
    ("--shell-completion", "-sc"): _SWITCH,
    ("--config-path", "-cp"): {},
    ("--config-name", "-cn"): {},
    ("--config-dir", "-cd"): {},
    ("--experimental-rerun",): {},
    ("--info", "-i"): {"nargs": "?"},
}


class _Place(str):
    """An argument known by its place: two that read the same are two."""


class _UnclearError(Exception):
    """Arguments that Hydra will complain about, in its own words."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UnclearError(message)


def flags_first(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with the flags and their values before the overrides, each kind in its order.

    Hydra's parser takes overrides on one side of the flags only; people put ``-m`` wherever they are when they think
    of it. What its parser does not know stays where it is, for Hydra to complain about.
    """
    parser = _Parser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    for names, values in FLAGS.items():
        parser.add_argument(*names, **values)
    places = [_Place(argument) for argument in arguments]
    try:
        typed, unknown = parser.parse_known_intermixed_args(places)
    except _UnclearError:
        return list(arguments)
    if unknown:
        return list(arguments)
    overrides = {id(argument) for argument in typed.overrides}
    flags = [str(argument) for argument in places if id(argument) not in overrides]
    return flags + [str(argument) for argument in places if id(argument) in overrides]
