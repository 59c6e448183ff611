"""A table of recordings as text: CSV with commas, semicolons or tabs, or DCASE's layout without a header."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import read_text
from .columns import DCASE_HEADER, is_header

NUMBER = re.compile(r"\s*[+-]?[\d.,]+([eE][+-]?\d+)?\s*")  # or what its writer took for one: '0,5'


@dataclass(frozen=True)
class Table:
    """The header, and each row as (line number, cells by column); the cells are stripped."""

    header: tuple[str, ...]
    lines: tuple[tuple[int, dict[str, str]], ...]
    headless: bool = False  # DCASE's columns, which the file itself does not name


def read_table(path: Path) -> Table:
    """Raises UserError, naming file and line, for what is no table of text."""
    text = read_text(path, "the table of recordings", encoding="utf-8-sig")
    if "\0" in text:
        raise UserError(f"{path}: not a table of text: it holds a zero byte (expected CSV in UTF-8)")
    first = next((line for line in text.splitlines() if set(line) & set(",;\t")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:  # such as a field of megabytes: a quote that is never closed
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}; is a quote left open?") from None
    rows = [(number, cells) for number, cells in rows if any(cells)]
    if rows and delimiter == "\t" and not is_header(rows[0][1]) and any(_is_event(cells) for _, cells in rows):
        return _headless(path, rows)
    header = tuple(rows[0][1]) if rows else ()
    if len(set(header)) < len(header):
        raise UserError(f"{path}: a column's name comes twice: {', '.join(header)}")
    if len(rows) < 2:
        raise UserError(f"{path}: no rows (expected a header, such as path,label, and a row for each recording)")
    return Table(header, _named(path, header, rows[1:], delimiter))


def _named(
    path: Path, header: tuple[str, ...], rows: list[tuple[int, list[str]]], delimiter: str
) -> tuple[tuple[int, dict[str, str]], ...]:
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(cells)} cells, but the header has {len(header)} columns "
                f"({', '.join(header)}); a cell that holds {delimiter!r} needs quotes"
            )
    return tuple((number, dict(zip(header, cells, strict=True))) for number, cells in rows)


def _is_event(cells: list[str]) -> bool:
    return len(cells) == len(DCASE_HEADER) and all(NUMBER.fullmatch(cell) for cell in cells[1:3])


def _headless(path: Path, rows: list[tuple[int, list[str]]]) -> Table:
    """DCASE's lines: a recording, onset, offset, label; a recording without events stands alone."""
    padded = [(number, cells + [""] * 3 if len(cells) == 1 else cells) for number, cells in rows]
    return Table(DCASE_HEADER, _named(path, DCASE_HEADER, padded, "\t"), headless=True)
