"""Label files beside the recordings: Audacity's and DCASE's 'start TAB end TAB label', in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import read_text
from .table import NUMBER

SUFFIX = ".txt"
_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Label:
    """A line of a label file; times in seconds from the recording's start."""

    line: int
    start_s: float
    end_s: float
    text: str


def label_file(recording: Path) -> Path:
    """Where a recording's label file lies: NAME.txt beside NAME.wav."""
    return recording.with_suffix(SUFFIX)


def find_label_files(
    recordings: Sequence[Path], wanted: str | bool, say: Callable[[str], None]
) -> Mapping[Path, list[Label]]:
    """The labels of each recording that has a label file; none where the .txt files are something else.

    ``wanted``: auto takes them where every .txt beside a recording is one (an empty one: no events) and one at least
    holds a label; True raises where that is not so.

    Raises UserError, naming file and line, for a file that is none among others that are.
    """
    files = {recording: label_file(recording) for recording in recordings if label_file(recording).is_file()}
    labels: dict[Path, list[Label]] = {}
    wrong: list[str] = []
    for recording, path in files.items():
        try:
            labels[recording] = read_label_file(path)
        except UserError as error:
            wrong.append(str(error))
    holding = sum(bool(found) for found in labels.values())
    if not holding and wanted != True:  # noqa: E712 (auto is a text)
        return {}
    if not holding and not wrong:
        raise UserError(
            f"label_files=true: no label file beside the {len(recordings)} recordings; expected NAME{SUFFIX} beside "
            "NAME.wav, with lines of start, end and label between tabs, in seconds"
        )
    if wrong:
        raise UserError(
            f"{holding} of {len(files)} {SUFFIX} files beside the recordings are label files, but {wrong[0]}; mend "
            "that, or leave them all alone with label_files=false"
        )
    say(
        f"events come from the {len(files)} label files beside the recordings (start, end and label, in seconds); "
        "folders' names are not used as labels"
    )
    return labels


def read_label_file(path: Path) -> list[Label]:
    """The labels in a file. Raises UserError, naming the line, for anything else than start, end and label."""
    labels = []
    for number, line in enumerate(read_text(path, encoding="utf-8-sig", limit=_LIMIT_BYTES).splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):  # Audacity's second line for a label with frequencies
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if not 2 <= len(cells) <= 3 or not all(NUMBER.fullmatch(cell) for cell in cells[:2]):
            raise UserError(f"{path}, line {number}: {line[:80]!r} is not start, end and label between tabs")
        labels.append(_label(path, number, cells))
    return labels


def _label(path: Path, number: int, cells: list[str]) -> Label:
    where = f"{path}, line {number}"
    try:
        start, end = float(cells[0]), float(cells[1])
    except ValueError:
        raise UserError(f"{where}: times {cells[0]!r} and {cells[1]!r}, expected seconds such as 0.5") from None
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise UserError(f"{where}: start {start:g} s, end {end:g} s; expected times from 0 up, the end not before")
    if len(cells) < 3 or not cells[2]:
        raise UserError(f"{where}: the event from {start:g} to {end:g} s has no label")
    return Label(number, start, end, cells[2])
