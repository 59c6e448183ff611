"""Text from outside (labels, names of tasks and models, error sentences), made harmless for where it is shown."""

from __future__ import annotations

import logging
import unicodedata
from typing import Any

JOINERS = "\u200c\u200d"  # invisible, but scripts and emoji are written with them
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet computes


def one_line(text: str) -> str:
    r"""``text`` with its control and invisible characters spelt out: ESC as \x1b, a line break as \n.

    A terminal would obey them: move, recolour, retitle, reverse the direction of what follows.
    """
    return "".join(_spelt(c) if _is_control(c) else c for c in str(text))


def lines(text: str) -> str:
    """As ``one_line``, but lines stay lines."""
    return "\n".join(one_line(line) for line in str(text).split("\n"))


class SafeFormatter(logging.Formatter):
    """A log line without characters that a terminal would obey; ``format`` is logging's, as in a config file."""

    def __init__(self, format: str):
        super().__init__(format)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, with its traceback where it has one."""
        return lines(super().format(record))


def _is_control(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in JOINERS


def _spelt(c: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(c) or ascii(c)[1:-1]


def cell(value: Any) -> Any:
    """A CSV cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe before it.

    Numbers are not text and stay as they are, and None is an empty cell.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
