"""glob() over files in a sweep: model.weights=glob(checkpoints/*.pt) makes a job for each file."""

from __future__ import annotations

import fnmatch
import glob
import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString


def files_of(override: Override) -> list[str] | None:
    """The files that ``override`` names by a glob(), each as a value for the command line; None where it is no such.

    The patterns are those of a shell, ``**`` for any depth, and relative to the current folder. ``exclude`` is matched
    with a file's path and with its name. Numbers in the names count as numbers: step_20 comes before step_100. A file
    that matches a pattern of ``include`` twice is there once.
    """
    pattern = override.value()
    if not isinstance(pattern, Glob):
        return None
    found = {path for include in pattern.include for path in glob.glob(include, recursive=True) if Path(path).is_file()}
    kept = [path for path in found if not any(_matches(path, exclude) for exclude in pattern.exclude)]
    return [as_typed(path) for path in sorted(kept, key=natural_key)]


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Orders texts as people do, by the numbers in them: step_20 before step_100."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", text) if part]


def as_typed(value: str) -> str:
    """``value`` as an option takes it on the command line: in quotes where Hydra would read something else into it."""
    quoted = QuotedString(value, Quote.single).with_quotes()
    parser = OverridesParser.create()
    plain = re.fullmatch(r"[\w./-]+", value) and parser.parse_override(f"x={value}").value() == value
    return value if plain else quoted


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(Path(path).name, pattern)
