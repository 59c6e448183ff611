"""Rows with a path and labels: the lines of a table, or the files of a folder tree."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import UserError
from .options import Options

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64")
)


@dataclass(frozen=True)
class Row:
    """A line of a table, or a file of a folder tree. Times in milliseconds from the recording's start."""

    where: str  # for messages: "meta.csv, line 7"
    key: str  # the path as the table has it, or below the folder
    path: Path
    label: str = ""
    group: str = ""
    split: str = ""
    start_ms: float | None = None
    end_ms: float | None = None


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
        rows = _folder_rows(Path(options.folder), options, say)
    else:
        roots = options.audio_root or tuple(str(Path(table).parent) for table in options.table)
        roots = roots * len(options.table) if len(roots) == 1 else roots
        rows = [
            row
            for table, root in zip(options.table, roots, strict=True)
            for row in _table_rows(Path(table), root, options)
        ]
    rows = _with_pattern(rows, options, skips)
    first = {row.path: row.where for row in reversed(rows)}
    absent = {path for path in first if not path.is_file()}
    missing = [f"{where}: {path}" for path, where in reversed(first.items()) if path in absent]
    skips.leave_out("recordings are not there", missing, len(first))
    return [row for row in rows if row.path not in absent]


def _folder_rows(folder: Path, options: Options, say: Callable[[str], None]) -> list[Row]:
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
    if others:
        say(f"files in {folder} that are no audio, left alone: {_counted(others)}")
    if "label" not in re.compile(options.pattern).groupindex and (bare := [row for row in rows if not row.label]):
        raise UserError(
            f"{bare[0].path} lies in no class folder ({len(bare)} of {len(rows)} files); expected "
            f"{folder}/LABEL/NAME.wav, or the label in the path with pattern='(?P<label>...)'"
        )
    return rows


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _counted(counts: Counter[str]) -> str:
    more = f" and {len(counts) - 4} other kinds" if len(counts) > 4 else ""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(4)) + more


def _table_rows(table: Path, root: str, options: Options) -> list[Row]:
    header, lines = _read_csv(table)
    in_pattern = re.compile(options.pattern).groupindex

    def need(column: str, option: str, why: str = "") -> str:
        if column not in header:
            raise UserError(
                f"{table} has no column {column!r}{why}; its columns are: {', '.join(header)}. "
                f"Choose one with {option}=COLUMN"
            )
        return column

    path_column = need(options.path_column, "path_column")
    label_column = "" if "label" in in_pattern else need(options.label_column, "label_column")
    group_column, split_column = options.group_column, options.split_column
    if group_column == "auto":
        group_column = "group" if "group" in header and "group" not in in_pattern else ""
    elif group_column:
        need(group_column, "group_column")
    if split_column == "auto":
        found = (
            [column for column in ("split", "fold") if column in header]
            if not {"split", "fold"} & set(in_pattern)
            else []
        )
        if len(found) > 1:
            raise UserError(f"{table} has the columns split and fold; choose with split_column=split, =fold or =null")
        split_column = found[0] if found else ""
    elif split_column and not (options.default_split and split_column not in header):
        need(split_column, "split_column")
    times = [column for column in (options.start_column, options.end_column) if column in header]
    if len(times) == 1 or options.changed("start_column") or options.changed("end_column") or options.kind == "event":
        need(options.start_column, "start_column", " for the events' start")
        need(options.end_column, "end_column", " for the events' end")
    elif options.changed("time_unit") and not times:
        raise UserError(f"time_unit: no effect, {table} has no columns {options.start_column} and {options.end_column}")

    rows = []
    for number, cells in lines:
        where = f"{table}, line {number}"
        key = cells[path_column].replace("\\", "/") if os.sep == "/" else cells[path_column]
        if not key:
            raise UserError(f"{where}: the column {path_column} is empty, expected a path")
        if options.extension and PurePosixPath(key).suffix.lower() not in AUDIO_SUFFIXES:
            key += "." + options.extension.lstrip(".")
        start_ms, end_ms = (
            _time_ms(where, cells, column, options) if times else None
            for column in (options.start_column, options.end_column)
        )
        if (start_ms is None) != (end_ms is None) or (start_ms or 0) > (end_ms or 0):
            raise UserError(
                f"{where}: start {cells[options.start_column]!r}, end {cells[options.end_column]!r}; expected both or "
                "none, and the end not before the start"
            )
        row = Row(
            where,
            key,
            Path(os.path.normpath(Path(root, key))),
            label=cells[label_column] if label_column else "",
            group=cells[group_column] if group_column else "",
            split=(cells.get(split_column, "") if split_column else "") or options.default_split,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        if group_column and not row.group:
            raise UserError(f"{where}: the column {group_column} is empty, expected a group for every recording")
        labels = row.label.split(options.label_separator) if options.label_separator else [row.label]
        kept = [label.strip() for label in labels if label.strip()] or [""]
        rows += [dataclasses.replace(row, label=label) for label in kept]
    return rows


def _read_csv(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row with its line number; the cells are stripped."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"table not found: {table}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the table {table}: {error} (expected CSV in UTF-8)") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    if len(set(header)) < len(header):
        raise UserError(f"{table}: a column's name comes twice: {', '.join(header)}")
    lines = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{table}, line {reader.line_num}: {len(cells)} cells, but the header has {len(header)} columns "
                f"({', '.join(header)}); a cell that holds {delimiter!r} needs quotes"
            )
        lines.append((reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    if not lines:
        raise UserError(f"{table}: no rows (expected a header, such as path,label, and a row for each recording)")
    return header, lines


def _time_ms(where: str, cells: dict[str, str], column: str, options: Options) -> float | None:
    if not cells[column]:
        return None
    try:
        time = float(cells[column])
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise UserError(f"{where}: {column} is {cells[column]!r}, expected a time from 0 up in {options.time_unit}")
    return round(time * 1000, 6) if options.time_unit == "s" else time


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
