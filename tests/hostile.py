"""Files as nobody means them, for the tests of readers: any JSON value, and files with a few bytes changed."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hear_exp.errors import UserError

# Few and always the same examples; the time of one says nothing on a busy machine.
few = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "..", "../x", "\0", "\x1b[2J"]
)
_NUMBERS = st.integers(-(10**30), 10**400) | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXT, values, max_size=3),
    max_leaves=6,
)


def nested(depth: int, inner: Any = None) -> Any:
    """Lists in lists, ``depth`` of them."""
    for _ in range(depth):
        inner = [inner]
    return inner


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of ``seeds`` with up to four stretches of bytes overwritten, put in or taken out."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        gone = draw(st.integers(0, 9))
        content[start : start + gone] = draw(st.binary(max_size=9) | st.just(b"\xff" * gone))
    return bytes(content)


def answer(read: Callable[[], Any], mebibytes: int = 32) -> Any:
    """What ``read()`` returns, or the sentence with which it refuses; another exception or much memory fails."""
    with little_memory(mebibytes):
        try:
            return read()
        except UserError as error:
            sentence = str(error)
    assert len(sentence) < 3000
    return sentence


@contextlib.contextmanager
def little_memory(mebibytes: int) -> Iterator[None]:
    """Fails where the block takes more than ``mebibytes`` at any time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mebibytes << 20, f"{peak >> 20} MiB"
