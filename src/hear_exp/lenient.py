"""A warning in the place of an error, for what may fail without costing a run its scores."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

log = logging.getLogger(__name__)


@contextlib.contextmanager
def only_warn(what: str, hint: str = "") -> Iterator[None]:
    """Turns any error inside into the warning '``what``: the error's sentence; ``hint``'. Ctrl-C still ends the run."""
    try:
        yield
    except Exception as error:
        log.warning("%s: %s%s", what, reason(error), f"; {hint}" if hint else "")
        log.debug("%s", what, exc_info=True)


def reason(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
