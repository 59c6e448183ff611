"""What was typed: Hydra's flags and the overrides among them."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser  # the parser that Hydra itself reads sys.argv with


class _Place(str):
    """An argument known by its place: two that read the same are two."""


def flags_first(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with the flags and their values before the overrides, each kind in its order.

    Hydra's parser takes overrides on one side of the flags only; people put ``-m`` wherever they are when they think
    of it. What its parser does not know stays where it is, for Hydra to complain about.
    """
    places = [_Place(argument) for argument in arguments]
    typed, unknown = get_args_parser().parse_known_intermixed_args(places)
    if unknown:
        return list(arguments)
    overrides = {id(argument) for argument in typed.overrides}
    flags = [str(argument) for argument in places if id(argument) not in overrides]
    return flags + [str(argument) for argument in places if id(argument) in overrides]
