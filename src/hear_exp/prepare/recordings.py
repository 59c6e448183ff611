"""Rows of one clip brought together: its labels or events, its group, its file name."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..scoring.event import Event
from .options import Options
from .rows import Row

_NAME_BYTES = 120  # file systems allow 255


@dataclass(frozen=True)
class Recording:
    """What becomes one clip: a file, or the stretch of it from ``start_ms`` to ``end_ms`` (None: its end)."""

    where: str
    key: str
    path: Path
    labels: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    group: str = ""
    split: str = ""
    start_ms: float = 0.0
    end_ms: float | None = None


def kind_of(rows: Sequence[Row], options: Options) -> str:
    """scene or event: as the options say, else event where a row has times."""
    if options.kind != "auto":
        return options.kind
    return "event" if any(row.start_ms is not None for row in rows) else "scene"


def gather(rows: Sequence[Row], kind: str, say: Callable[[str], None]) -> list[Recording]:
    """One recording for each clip: rows of one path (for excerpts: of one stretch of it) come together.

    Without a group, the excerpts of one file are a group, and every other recording is one of its own.

    Raises UserError for rows of one clip that disagree, and for events without label or times.
    """
    together: dict[tuple[Path, float | None, float | None], list[Row]] = {}
    for row in rows:
        stretch = (row.start_ms, row.end_ms) if kind == "scene" else (None, None)
        together.setdefault((row.path, *stretch), []).append(row)
    recordings, repeated = [], 0
    for (path, start_ms, end_ms), members in together.items():
        first = members[0]
        for name in ("group", "split"):
            if other := next((row for row in members if getattr(row, name) != getattr(first, name)), None):
                raise UserError(
                    f"{other.where}: {name} {getattr(other, name)!r} for {first.key}, which {first.where} puts into "
                    f"{getattr(first, name)!r}; a recording has one {name}"
                )
        repeated += len(members) - len({(row.label, row.start_ms, row.end_ms) for row in members})
        labels: tuple[str, ...] = ()
        events: tuple[Event, ...] = ()
        if kind == "event":
            distinct = {_event(row) for row in members if row.label or row.start_ms is not None}
            events = tuple(sorted(distinct, key=lambda event: (event.start_ms, event.end_ms, event.label)))
        else:
            labels = tuple(dict.fromkeys(row.label for row in members if row.label))
        recordings.append(
            Recording(
                where=first.where,
                key=first.key,
                path=path,
                labels=labels,
                events=events,
                group=first.group or str(path),
                split=first.split,
                start_ms=start_ms or 0.0,
                end_ms=end_ms,
            )
        )
    if repeated > 0:
        say(f"{repeated} rows repeat another one (the same path and label); each counts once")
    return recordings


def check_events(rows: Sequence[Row]) -> None:
    """Raises UserError for an event without label or times."""
    for row in rows:
        if row.label or row.start_ms is not None:
            _event(row)


def _event(row: Row) -> Event:
    if not row.label or row.start_ms is None or row.end_ms is None:
        came = f"label {row.label!r}, start {row.start_ms}, end {row.end_ms}"
        raise UserError(
            f"{row.where}: an event has a label, a start and an end, this one: {came} (a recording without events has "
            "one row without all three)"
        )
    return Event(row.label, row.start_ms, row.end_ms)


def prediction_type_of(recordings: Sequence[Recording], kind: str, wanted: str) -> str:
    """multiclass or multilabel. Raises UserError where the labels do not allow what is wanted."""
    if kind == "event":
        if wanted == "multiclass":
            raise UserError("prediction_type=multiclass is for scenes; several events may sound at once (multilabel)")
        return "multilabel"
    bare = [recording for recording in recordings if not recording.labels]
    many = [recording for recording in recordings if len(recording.labels) > 1]
    if bare and wanted != "multilabel":
        raise UserError(
            f"{bare[0].where}: {bare[0].key} has no label ({len(bare)} of {len(recordings)} recordings have none); "
            "for clips without any label say prediction_type=multilabel"
        )
    if many and wanted == "multiclass":
        raise UserError(
            f"{many[0].where}: {many[0].key} has {len(many[0].labels)} labels ({', '.join(many[0].labels)}), but "
            f"multiclass means exactly one ({len(many)} of {len(recordings)} recordings have more)"
        )
    return wanted if wanted != "auto" else "multilabel" if many else "multiclass"


def clip_names(recordings: Sequence[Recording]) -> list[str]:
    """A file name for each clip: made from its path, readable, each one once also where case does not count.

    'dog/a 1.flac' becomes 'dog_a_1.wav'; names that would meet get eight digits of their path's hash.
    """
    paths = [os.path.abspath(recording.path) for recording in recordings]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    relative = [Path(os.path.relpath(path, common)) for path in paths]
    names = [_plain_name(path, recording) for path, recording in zip(relative, recordings, strict=True)]
    taken = Counter(name.casefold() for name in names)
    return [
        f"{name}.wav"
        if taken[name.casefold()] == 1 and len(name.encode()) <= _NAME_BYTES
        else _hashed(name, f"{path.as_posix()}\n{recording.start_ms}\n{recording.end_ms}")
        for name, path, recording in zip(names, relative, recordings, strict=True)
    ]


def _plain_name(path: Path, recording: Recording) -> str:
    parts = "_".join(path.with_suffix("").parts)
    name = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", parts)).lstrip(".")
    if recording.end_ms is not None:
        name += f"_{recording.start_ms:g}-{recording.end_ms:g}ms"
    return name or "clip"


def _hashed(name: str, identity: str) -> str:
    short = name.encode()[:_NAME_BYTES].decode(errors="ignore")
    return f"{short}_{hashlib.sha256(identity.encode()).hexdigest()[:8]}.wav"


def vocabulary(labels: Iterable[str]) -> list[str]:
    """The labels in order: by number where all are whole numbers (pitches: index and pitch then go together)."""
    distinct = sorted(set(labels))
    return sorted(distinct, key=int) if all(re.fullmatch(r"-?[0-9]+", label) for label in distinct) else distinct
