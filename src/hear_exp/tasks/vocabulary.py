"""labelvocabulary.csv: a task's labels in index order, read without trusting the file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..errors import UserError
from ..files import read_text

LIMIT_BYTES = 16 << 20  # FSD50K's has 5 kB


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Labels in the order of the column idx; labels are strings even where they look like numbers.

    Raises UserError, naming the file, for one that is not CSV text with the columns idx,label, whose idx do not
    count 0, 1, 2, ..., or that lists a label twice.
    """
    hint = "a HEAR task folder has one, with columns idx,label"
    text = read_text(path, hint, encoding="utf-8-sig", newline="", limit=LIMIT_BYTES)
    if "\0" in text:
        raise UserError(f"{path}: not CSV text: it holds a NUL character")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"{path}: not CSV text: {error}") from None
    if not rows or not {"idx", "label"} <= set(reader.fieldnames or ()):
        raise UserError(f"{path}: expected the columns idx,label and at least one row")
    try:
        by_index = {int(row["idx"]): str(row["label"]) for row in rows}
    except (TypeError, ValueError):
        raise UserError(f"{path}: a value of the column idx is not an integer") from None
    if sorted(by_index) != list(range(len(rows))):
        raise UserError(f"{path}: idx must count 0, 1, 2, ... without gaps or repeats")
    if any(row["label"] is None for row in rows):
        raise UserError(f"{path}: a row has no label")
    labels = tuple(by_index[i] for i in range(len(rows)))
    if len(set(labels)) != len(labels):
        raise UserError(f"{path}: a label is listed twice")
    return labels
