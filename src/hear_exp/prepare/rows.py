"""Rows with a path and labels: the lines of a table, or the files of a folder tree."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import UserError
from .columns import Columns, choose_columns, unit_of
from .label_files import Label, find_label_files, label_file
from .options import Options
from .table import read_table

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64")
)


@dataclass(frozen=True)
class Row:
    """A line of a table or of a label file, or a file of a folder tree.

    Times in milliseconds from the recording's start; while ``unsettled``, in what unit the numbers are is not known.
    """

    where: str  # for messages: "meta.csv, line 7"
    key: str  # the path as the table has it, or below the folder
    path: Path
    label: str = ""
    group: str = ""
    split: str = ""
    start_ms: float | None = None
    end_ms: float | None = None
    table: str = ""  # where times come from that are of one unit
    unsettled: bool = False


@dataclass
class Skips:
    """What cannot be used: an error, or left out and counted where ``skip`` is set."""

    skip: bool
    say: Callable[[str], None]
    count: int = field(default=0, init=False)

    def leave_out(self, why: str, culprits: Sequence[str], total: int) -> None:
        """Note ``culprits``, what of ``total`` cannot be used. Raises UserError unless they may be skipped."""
        if not culprits:
            return
        text = f"{len(culprits)} of {total} {why} (the first: {culprits[0]})"
        if not self.skip:
            raise UserError(f"{text}; mend that, or leave them out with on_error=skip")
        self.count += len(culprits)
        self.say(f"left out: {text}")
        if len(culprits) == total:
            raise UserError(f"nothing is left: {text}")


def read_rows(options: Options, skips: Skips, say: Callable[[str], None]) -> list[Row]:
    """The rows of the tables, or of the folder tree, in their order; the pattern's parts are filled in.

    Raises UserError, saying where, for what is missing: files, columns, labels, times.
    """
    if options.folder:
        rows = _folder_rows(Path(options.folder), options, skips, say)
    else:
        roots = options.audio_root or tuple(str(Path(table).parent) for table in options.table)
        roots = roots * len(options.table) if len(roots) == 1 else roots
        rows = [
            row
            for table, root in zip(options.table, roots, strict=True)
            for row in _table_rows(Path(table), root, options, say)
        ]
    rows = _with_pattern(rows, options, skips)
    _check_printable(rows)
    first = {row.path: row.where for row in reversed(rows)}
    absent = {path for path in first if not path.is_file()}
    missing = [f"{where}: {path}" for path, where in reversed(first.items()) if path in absent]
    skips.leave_out("recordings are not there", missing, len(first))
    return [row for row in rows if row.path not in absent]


def _check_printable(rows: Sequence[Row]) -> None:
    """Raises UserError for a text that a file of labels, a terminal or a log could not show as it is."""
    for row in rows:
        for name in ("label", "group", "split"):
            if not getattr(row, name).isprintable():
                raise UserError(
                    f"{row.where}: the {name} {getattr(row, name)!r} holds an unprintable character, such as a line "
                    "break or half of a letter in another encoding than UTF-8"
                )


def _folder_rows(folder: Path, options: Options, skips: Skips, say: Callable[[str], None]) -> list[Row]:
    if not folder.is_dir():
        raise UserError(f"folder not found: {folder}")
    rows, others = [], Counter[str]()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_litter(name))
        for name in sorted(files):
            path = Path(parent, name)
            if _is_litter(name):
                continue
            if path.suffix.lower() not in AUDIO_SUFFIXES:
                others[path.suffix.lower() or name] += 1
                continue
            key = path.relative_to(folder)
            rows.append(Row(str(path), key.as_posix(), path, label=key.parts[0] if len(key.parts) > 1 else ""))
    if not rows:
        came = f"only {_counted(others)}" if others else "no files"
        raise UserError(f"{folder}: no audio files in it ({came}); expected one folder a class, with recordings")
    named = "label" in re.compile(options.pattern).groupindex
    labels: Mapping[Path, Sequence[Label]] = {}
    if options.label_files is True or (options.label_files == "auto" and options.kind != "scene" and not named):
        labels = find_label_files([row.path for row in rows], options.label_files, say)
        others[".txt"] -= len(labels)
    if +others:
        say(f"files in {folder} that are no audio, left alone: {_counted(+others)}")
    if labels:
        return _labelled(rows, labels, options, skips)
    if options.changed("times"):
        raise UserError(f"times: no effect, {folder} has no label files beside its recordings")
    if not named and (bare := [row for row in rows if not row.label]):
        raise UserError(
            f"{bare[0].path} lies in no class folder ({len(bare)} of {len(rows)} files); expected "
            f"{folder}/LABEL/NAME.wav, or the label in the path with pattern='(?P<label>...)'"
        )
    return rows


def _labelled(rows: Sequence[Row], labels: Mapping[Path, Sequence[Label]], options: Options, skips: Skips) -> list[Row]:
    """A row for each label of the recordings; one without times for a recording without events."""
    bare = [f"{row.path} (expected {label_file(row.path).name})" for row in rows if row.path not in labels]
    skips.leave_out("recordings have no label file beside them (an empty one says: no events)", bare, len(rows))
    factor = 1.0 if options.times == "ms" else 1000.0
    found = []
    for row in rows:
        if row.path not in labels:
            continue
        file = label_file(row.path)
        plain = dataclasses.replace(row, where=str(file), label="", table=options.folder)
        found += [
            dataclasses.replace(
                plain,
                where=f"{file}, line {label.line}",
                label=label.text,
                start_ms=round(label.start_s * factor, 6),
                end_ms=round(label.end_s * factor, 6),
            )
            for label in labels[row.path]
        ] or [plain]
    return found


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _counted(counts: Counter[str]) -> str:
    more = f" and {len(counts) - 4} other kinds" if len(counts) > 4 else ""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(4)) + more


def _table_rows(path: Path, root: str, options: Options, say: Callable[[str], None]) -> list[Row]:
    table = read_table(path)
    columns = choose_columns(str(path), table.header, options, re.compile(options.pattern).groupindex)
    units = {column: _unit(column, options) for column in (columns.start, columns.end) if column}
    if table.headless:
        say(f"{path}: no header; its lines are taken for DCASE's recording, onset, offset (in seconds) and label")
    say(f"{path}: {columns.describe(next(iter(set(units.values()))) if len(set(units.values())) == 1 else '')}")
    rows = []
    for number, cells in table.lines:
        row = _table_row(f"{path}, line {number}", cells, columns, options, root)
        start, end = (_time(row.where, cells, column, units) for column in (columns.start, columns.end))
        if (start is None) != (end is None) or (start or 0) > (end or 0):
            raise UserError(
                f"{row.where}: start {cells[columns.start]!r}, end {cells[columns.end]!r}; expected both or "
                "none, and the end not before the start"
            )
        row = dataclasses.replace(row, table=str(path), start_ms=start, end_ms=end, unsettled="" in units.values())
        labels = row.label.split(options.label_separator) if options.label_separator else [row.label]
        kept = [label.strip() for label in labels if label.strip()] or [""]
        rows += [dataclasses.replace(row, label=label) for label in kept]
    _hint_at_separators(path, rows, columns, options, say)
    return rows


def _table_row(where: str, cells: dict[str, str], columns: Columns, options: Options, root: str) -> Row:
    """A line's row, without its times."""
    key = cells[columns.path].replace("\\", "/") if os.sep == "/" else cells[columns.path]
    if not key:
        raise UserError(f"{where}: the column {columns.path} is empty, expected a path")
    if options.extension and PurePosixPath(key).suffix.lower() not in AUDIO_SUFFIXES:
        key += "." + options.extension.lstrip(".")
    row = Row(
        where,
        key,
        Path(os.path.normpath(Path(root, key))),
        label=cells[columns.label] if columns.label else "",
        group=cells[columns.group] if columns.group else "",
        split=(cells[columns.split] if columns.split else "") or options.default_split,
    )
    if columns.group and not row.group:
        raise UserError(f"{where}: the column {columns.group} is empty, expected a group for every recording")
    return row


def _unit(column: str, options: Options) -> str:
    return options.times if options.times != "auto" else unit_of(column)


def _time(where: str, cells: dict[str, str], column: str, units: dict[str, str]) -> float | None:
    """Milliseconds; the number as it stands where any of the two columns' units is not known."""
    if not column or not cells[column]:
        return None
    unit = units[column] if all(units.values()) else ""
    try:
        time = float(cells[column])
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        expected = {"s": "in s", "ms": "in ms"}.get(unit, "in s or ms")
        raise UserError(
            f"{where}: {column} is {cells[column]!r}, expected a time from 0 up {expected} (times=s or times=ms), "
            "with a point for decimals"
        )
    return round(time * 1000, 6) if unit == "s" else time


def _hint_at_separators(
    path: Path, rows: Sequence[Row], columns: Columns, options: Options, say: Callable[[str], None]
) -> None:
    if options.label_separator or not columns.label:
        return
    for mark in ",;|":
        if 2 * sum(mark in row.label for row in rows) > len(rows):
            say(
                f"WARNING: most cells of {path}'s column {columns.label} hold {mark!r} and are one label each; "
                f"label_separator={mark} makes several of them"
            )


def _with_pattern(rows: list[Row], options: Options, skips: Skips) -> list[Row]:
    if not options.pattern:
        return rows
    pattern = re.compile(options.pattern)
    matches = [pattern.search(row.key) for row in rows]
    failed = [row.key for row, match in zip(rows, matches, strict=True) if match is None]
    skips.leave_out(f"paths do not match the pattern {options.pattern!r}", failed, len(rows))
    filled = []
    for row, match in zip(rows, matches, strict=True):
        if match is not None:
            parts = {name: text or "" for name, text in match.groupdict().items()}
            if empty := [name for name, text in parts.items() if not text]:
                raise UserError(f"{row.where}: the pattern's {empty[0]} is empty for {row.key!r}")
            filled.append(
                dataclasses.replace(
                    row,
                    label=parts.get("label", row.label),
                    group=parts.get("group", row.group),
                    split=parts.get("split", parts.get("fold", row.split)),
                )
            )
    return filled
