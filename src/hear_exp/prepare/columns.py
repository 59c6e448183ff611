"""Which of a table's columns hold the recording, its label, group, split and times, by the names the field uses."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from ..errors import UserError
from .options import Options

# In the order of preference, in the form that ``_normal`` gives them.
PATH_NAMES = (
    *("path", "filename", "file_name", "file", "filepath", "file_path", "fname", "audio_filename", "audio_filepath"),
    *("audio_file", "audio_path", "audio", "wav", "wav_file", "slice_file_name", "begin_file", "recording"),
    *("clip_filename", "clip_name", "clip"),
)
LABEL_NAMES = ("label", "event_label", "labels", "class", "class_name", "category", "tags", "tag")
START_NAMES = (
    *("start", "onset", "start_time", "onset_time", "begin", "begin_time", "time_start", "t_start", "tstart", "tmin"),
)
END_NAMES = (
    *("end", "offset", "end_time", "offset_time", "stop", "stop_time", "finish", "time_end", "t_end", "tend", "tmax"),
)
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
}
_SECONDS_BY_CUSTOM = {"onset", "offset", "onset_time", "offset_time"}  # as DCASE, sed_eval and MIREX have them
DCASE_HEADER = ("filename", "onset", "offset", "event_label")


@dataclass(frozen=True)
class Columns:
    """The columns to read, by their names in the table; empty: none."""

    path: str
    label: str
    group: str
    split: str
    start: str
    end: str
    ignored: tuple[str, ...]

    def describe(self, unit: str) -> str:
        """What is taken from which column; ``unit`` of the times, empty where the recordings decide."""
        parts = [f"recordings in {self.path}"]
        parts += [f"{what} in {name}" for what, name in (("labels", self.label), ("groups", self.group)) if name]
        parts += [f"splits in {self.split}"] if self.split else []
        if self.start:
            words = {"s": " (seconds)", "ms": " (milliseconds)"}.get(unit, "")
            parts.append(f"times in {self.start} and {self.end}{words}")
        ignored = f"; not used: {', '.join(self.ignored)}" if self.ignored else ""
        return ", ".join(parts) + ignored


def unit_of(column: str) -> str:
    """s or ms, as a time column's name says (start_ms, 'Begin Time (s)', onset); empty where it does not."""
    name, unit = _parts(column)
    return unit or ("s" if name in _SECONDS_BY_CUSTOM else "")


def is_header(cells: Sequence[str]) -> bool:
    """Whether a table's first line names columns: one of them is a name that a recording's column goes by."""
    return any(_normal(cell) in PATH_NAMES for cell in cells)


def choose_columns(table: str, header: Sequence[str], options: Options, in_pattern: Container[str]) -> Columns:
    """The columns that the options name, or (auto) that go by a name of the field. ``in_pattern``: found in the path.

    Raises UserError, naming the columns there are, for one that is missing or for several that may be meant.
    """
    chooser = _Chooser(table, header)
    path = chooser.need(options.path_column, "path_column", PATH_NAMES, "the recording")
    label = ""
    if "label" not in in_pattern:
        label = chooser.need(options.label_column, "label_column", LABEL_NAMES, "the label", "label")
    group, split = options.group_column, options.split_column
    if group == "auto":
        group = "group" if "group" in header and "group" not in in_pattern else ""
    elif group:
        chooser.need(group, "group_column", (), "")
    if split == "auto":
        in_path = "split" in in_pattern or "fold" in in_pattern
        found = [] if in_path else [column for column in ("split", "fold") if column in header]
        if len(found) > 1:
            raise UserError(f"{table} has the columns split and fold; choose with split_column=split, =fold or =null")
        split = found[0] if found else ""
    elif split and split not in header and options.default_split:
        split = ""
    elif split:
        chooser.need(split, "split_column", (), "")
    start, end = _time_columns(chooser, options)
    used = {path, label, group, split, start, end}
    return Columns(path, label, group, split, start, end, tuple(name for name in header if name not in used))


def _time_columns(chooser: _Chooser, options: Options) -> tuple[str, str]:
    if not options.start_column or not options.end_column:  # null: the times are not to be read
        return "", ""
    start = chooser.find(options.start_column, START_NAMES)
    end = chooser.find(options.end_column, END_NAMES)
    asked = options.kind == "event" or options.changed("start_column") or options.changed("end_column")
    if not (start or end or asked):
        if options.changed("times"):
            raise UserError(
                f"times: no effect, {chooser.table} has no columns for times; its columns are: {chooser.listed()}"
            )
        return "", ""
    why = "; start_column=null leaves the times alone" if start or end else ""
    start = chooser.need(options.start_column, "start_column", START_NAMES, "the events' start", why=why)
    return start, chooser.need(options.end_column, "end_column", END_NAMES, "the events' end", why=why)


@dataclass(frozen=True)
class _Chooser:
    table: str
    header: Sequence[str]

    def listed(self) -> str:
        return ", ".join(self.header)

    def find(self, wanted: str, names: Sequence[str]) -> str:
        """The wanted column, or with auto the one that goes by one of ``names``; empty where there is none."""
        if wanted != "auto":
            return wanted if wanted in self.header else ""
        found = [column for column in self.header if _parts(column)[0] in names or _normal(column) in names]
        # A column that tells its unit goes before one that does not.
        found.sort(key=lambda column: (not _parts(column)[1], names.index(_known(column, names))))
        return found[0] if found else ""

    def need(
        self, wanted: str, option: str, names: Sequence[str], what: str, clear: str | None = None, why: str = ""
    ) -> str:
        """As ``find``, but it must be there; with ``clear`` only one may be there, unless it is called that."""
        column = self.find(wanted, names)
        if not column:
            looked = f"{wanted!r}" if wanted != "auto" else f"for {what} (called {', '.join(names[:6])}, ...)"
            of_what = f" for {what}" if wanted != "auto" and what else ""
            raise UserError(
                f"{self.table} has no column {looked}{of_what}; its columns are: {self.listed()}. "
                f"Choose one with {option}=COLUMN{why}"
            )
        if wanted == "auto" and clear is not None and column != clear:
            others = [name for name in self.header if _normal(name) in names]
            if len(others) > 1:
                raise UserError(
                    f"{self.table} has the columns {' and '.join(others)}, each of which may be {what}; choose with "
                    f"{option}=COLUMN"
                )
        return column


def _known(column: str, names: Sequence[str]) -> str:
    name = _parts(column)[0]
    return name if name in names else _normal(column)


def _parts(column: str) -> tuple[str, str]:
    """A column's plain name and its unit: ('start', 'ms') of 'start_ms', ('begin_time', 's') of 'Begin Time (s)'."""
    name = _normal(column)
    base, _, last = name.rpartition("_")
    return (base, _UNITS[last]) if base and last in _UNITS else (name, "")


def _normal(column: str) -> str:
    """'eventLabel', 'Event Label' -> 'event_label'."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
