"""All runs of a root side by side.

    python -m hear_exp.report [ROOT]

compares every run under ROOT/runs (ROOT: paths.root of the runs, by default the current folder) and writes
ROOT/report/results.csv and scores.png, and steps.png where runs differ in the step of a pretraining run's weights.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals("what is written already stays")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..lenient import reason
from ..safe_text import lines
from .runs import compare, find_runs
from .runs_table import doubts_text, runs_table, write_csv
from .scores_picture import draw_scores
from .steps_picture import draw_steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all runs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hear_exp.report", description="Compare all runs.")
    parser.add_argument("root", nargs="?", default=".", help="paths.root of the runs (default: this folder)")
    root = Path(parser.parse_args(arguments).root.removeprefix("paths.root=")).expanduser()
    # Without a terminal there is no width to keep to: each run stays on one line, for grep.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    runs, unreadable = find_runs(root)
    for sentence in unreadable:
        console.print(Text(lines(f"skipped: {sentence}"), style="yellow"))
    if not runs:
        hint = "`python -m hear_exp` makes one, `python -m hear_exp.report ROOT` looks elsewhere"
        console.print(Text(lines(f"no finished runs under {root / 'runs'}: {hint}")))
        return 1
    comparisons = compare(runs)
    console.print()
    console.print(runs_table(comparisons, root, console.width))
    if any(run.result.protocol_changes for run in runs):
        console.print("* fields of the protocol were changed; see protocol_changes in results.csv")
    for line in doubts_text(comparisons):
        console.print(Text(line, style="yellow"))
    folder = root / "report"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [
            write_csv(comparisons, folder / "results.csv"),
            draw_scores(comparisons, folder / "scores.png"),
            draw_steps(comparisons, folder / "steps.png"),
        ]
        for path in filter(None, written):
            console.print(Text(lines(f"wrote {path}")))
    except OSError as error:
        print(lines(f"hear_exp: cannot write the report into {folder}: {reason(error)}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
