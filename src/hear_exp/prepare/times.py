"""Units of time columns, and times that cannot be meant, by the lengths of the recordings they are of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import UserError
from .options import Options
from .rows import Row, Skips

EARLY_PART = 0.02  # events that all lie in this part of their recordings: seconds that were read as milliseconds
_BEYOND_S, _BEYOND_PART = 0.5, 0.05  # how far an event may end after its recording: annotators are not exact
_ADVICE = "times=s and times=ms say what the numbers are"


def settle_units(rows: Sequence[Row], seconds_of: Mapping[Path, float], say: Callable[[str], None]) -> list[Row]:
    """The rows with all times in milliseconds; those whose columns do not tell their unit by the recordings' lengths.

    Seconds where, so read, no event ends after its recording (as milliseconds they would all lie in the first
    thousandth); milliseconds where only that fits. ``seconds_of``: the lengths that are known.

    Raises UserError where neither reading fits, and asks for the option.
    """
    undecided = {row.table for row in rows if row.unsettled}
    factors = {
        table: _factor(table, [row for row in rows if row.table == table], seconds_of, say) for table in undecided
    }
    return [_scaled(row, factors[row.table]) if row.unsettled else row for row in rows]


def _scaled(row: Row, factor: float) -> Row:
    if row.start_ms is None or row.end_ms is None:
        return dataclasses.replace(row, unsettled=False)
    start, end = round(row.start_ms * factor, 6), round(row.end_ms * factor, 6)
    return dataclasses.replace(row, start_ms=start, end_ms=end, unsettled=False)


def _factor(table: str, rows: Sequence[Row], seconds_of: Mapping[Path, float], say: Callable[[str], None]) -> float:
    """What makes the table's times milliseconds: 1000 or 1."""
    timed = [
        (row, row.end_ms, seconds_of[row.path]) for row in rows if row.end_ms is not None and row.path in seconds_of
    ]
    if not timed:
        return 1.0  # nothing can be read: said elsewhere
    in_seconds = [end <= _limit_s(length) for _, end, length in timed]
    if all(in_seconds):
        row, end, length = max(timed, key=lambda each: each[1])
        say(
            f"{table}: times are read as seconds: the latest end is {end:g}, in {row.path.name} of {length:g} s (as "
            f"milliseconds all would lie in the first thousandth); {_ADVICE}"
        )
        return 1000.0
    in_milliseconds = all(end / 1000 <= _limit_s(length) for _, end, length in timed)
    row, end, length = next(each for each, fits in zip(timed, in_seconds, strict=True) if not fits)
    if in_milliseconds and not _all_early((end / 1000, length) for _, end, length in timed):
        say(
            f"{table}: times are read as milliseconds: {row.where} ends at {end:g} in {row.path.name} of {length:g} s; "
            f"{_ADVICE}"
        )
        return 1.0
    raise UserError(
        f"{row.where}: an end of {end:g} in {row.path.name} of {length:g} s; as seconds that is after its end "
        f"({in_seconds.count(False)} of {len(timed)} are), as milliseconds the times do not fit the recordings either. "
        f"{_ADVICE}"
    )


def check_times(
    rows: Sequence[Row], seconds_of: Mapping[Path, float], kind: str, options: Options, skips: Skips
) -> list[Row]:
    """The rows whose times can be meant; ``kind``: scene or event.

    Raises UserError, with the row and the option, where all events of a table lie in the first part of their
    recordings, and, unless they may be skipped, for events after their recording's end. A recording whose events are
    all skipped stays, without events.
    """
    timed = [row for row in rows if row.end_ms is not None and row.path in seconds_of]
    what = "events" if kind == "event" else "excerpts"
    unit = f"are the times in milliseconds? {_ADVICE}"
    late = [row for row in timed if kind == "event" and (row.start_ms or 0) / 1000 >= seconds_of[row.path]]
    skips.leave_out(
        f"{what} begin after the end of their recording ({unit})",
        [_describe(row, row.start_ms, seconds_of) for row in late],
        len(timed),
    )
    gone = set(map(id, late))
    over = [row for row in timed if id(row) not in gone and (row.end_ms or 0) / 1000 > _limit_s(seconds_of[row.path])]
    skips.leave_out(
        f"{what} end more than {_BEYOND_S:g} s after their recording ({unit})",
        [_describe(row, row.end_ms, seconds_of, "to ") for row in over],
        len(timed),
    )
    gone |= set(map(id, over))
    for table in {row.table: None for row in timed}:
        _check_early([row for row in timed if row.table == table and id(row) not in gone], seconds_of, options, skips)
    kept = [row for row in rows if id(row) not in gone]
    if kind == "event":
        there = {row.path for row in kept}
        bare = {row.path: row for row in (*late, *over) if row.path not in there}
        kept += [dataclasses.replace(row, label="", start_ms=None, end_ms=None) for row in bare.values()]
    return kept


def _check_early(rows: Sequence[Row], seconds_of: Mapping[Path, float], options: Options, skips: Skips) -> None:
    if not rows or not _all_early(((row.end_ms or 0) / 1000, seconds_of[row.path]) for row in rows):
        return
    row = max(rows, key=lambda each: each.end_ms or 0)
    text = (
        f"all {len(rows)} times lie in the first {EARLY_PART:.0%} of their recordings (the latest: "
        f"{_describe(row, row.end_ms, seconds_of, 'to ')})"
    )
    if options.times == "auto":
        raise UserError(f"{text}; are they in another unit? {_ADVICE}")
    skips.say(f"WARNING: {text}; times={options.times} says that this is meant")


def _all_early(times: Iterable[tuple[float, float]]) -> bool:
    return all(end_s <= EARLY_PART * length_s for end_s, length_s in times)


def _limit_s(length_s: float) -> float:
    return length_s + max(_BEYOND_S, _BEYOND_PART * length_s) + 1e-6


def _describe(row: Row, time_ms: float | None, seconds_of: Mapping[Path, float], word: str = "at ") -> str:
    own_ms = round(seconds_of[row.path] * 1000, 3)
    return f"{row.where}: {row.label} {word}{time_ms or 0:g} ms in {row.path} of {own_ms:g} ms"
