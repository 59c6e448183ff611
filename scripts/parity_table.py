"""Reproduces the tables of docs/parity.md: runs heareval and hear_exp on the same embeddings, and writes what came out.

    python scripts/parity_table.py PEER_PYTHON WORK                     demo_events and demo_tags, made in WORK
    python scripts/parity_table.py PEER_PYTHON WORK FOLDER...           folders of embeddings, each with a table there
    ... [--seeds 0 1 2 3 4] [--grid-points 2]

PEER_PYTHON is the Python of an environment where heareval is installed (docs/parity.md says how). A folder's tables
stand between the markers with its name. Runs are kept in WORK, and those that it has already are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import parity
import parity_tasks
from marked import between, replace

from hear_exp.cli.sentences import is_expected, leave, sentence

DOCUMENT = Path(__file__).parents[1] / "docs" / "parity.md"
VERSIONS = "table: versions"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each folder and write its tables; what cannot be done is a sentence and status 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer_python")
    parser.add_argument("work", type=Path)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--grid-points", type=int, default=2)
    options = parser.parse_args(arguments)
    try:
        for folder in options.folders:
            between(DOCUMENT, marker(folder))  # before hours of runs
        for folder in options.folders or parity_tasks.make(options.work):
            compared = parity.measure(options.peer_python, folder, options.work, options.seeds, options.grid_points)
            write(DOCUMENT, folder, compared)
    except Exception as error:
        if not is_expected(error):
            raise
        leave(sentence(error))


def marker(folder: Path) -> str:
    """What marks a folder's tables."""
    return f"table: {folder.resolve().name}"


def write(document: Path, folder: Path, compared: parity.Comparison) -> None:
    """Put a comparison's tables, and the versions that were run, between their markers."""
    replace(document, marker(folder), parity.tables(compared))
    replace(document, VERSIONS, parity.versions_text(compared))
    print(f"{document}: {folder.name}")


if __name__ == "__main__":
    main()
