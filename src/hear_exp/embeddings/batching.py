"""How much audio a batch may hold."""

from __future__ import annotations

from ..errors import UserError


def check_batch_seconds(seconds: object) -> None:
    """Raise UserError unless ``seconds`` is a number of seconds above 0."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise UserError(f"embeddings.batch_seconds is {seconds!r}, expected seconds above 0")
