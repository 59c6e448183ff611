"""The command ``hear_exp``: what ``python -m hear_exp`` is, with a name that a shell can complete."""

from __future__ import annotations

import sys

from .interrupts import answer_signals


def main() -> None:
    """Run the command line."""
    answer_signals()
    sys.path.insert(0, "")  # as python -m does: a model's module may lie in the current folder
    from .__main__ import run
    from .cli.edge import start

    start(run)
