"""The one error class that reaches a person as a sentence instead of a traceback, and values shown in one."""

import reprlib
from collections.abc import Sequence
from typing import Any


class UserError(ValueError):
    """Something the user can mend: says where, what was expected, what came, and what to do."""


def shown(value: Any) -> str:
    """``value`` as an error's sentence shows it: like repr, but cut short where it is long or deeply nested."""
    return _SHORT.repr(value)


def listed(labels: Sequence[str], first: int = 5) -> str:
    """The first few of ``labels`` and how many more there are, for a sentence."""
    rest = len(labels) - first
    return ", ".join(labels[:first]) + (f" and {rest} more" if rest > 0 else "")


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write whole numbers of more than 4300 digits.
        return repr(x) if x.bit_length() < 1000 else f"a whole number of {x.bit_length()} bits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxtuple = 4, 12, 8, 12
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
