"""Reproduces the table and the pictures of README.md from runs of the commands that it shows.

    python scripts/readme_table.py FOLDER            runs the commands in FOLDER, unless it has runs already; then
                                                     rewrites the table and the pictures
    python scripts/readme_table.py FOLDER --check    changes nothing: says what differs from what FOLDER gives

The words of the table (what a task is, what its score is called) and its order are the README's own; the numbers are
the runs'. Doubts and minutes, of which the text around the table speaks, are printed for a person to compare.
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from marked import between, replace

from hear_exp.cli.sentences import is_expected, leave, sentence
from hear_exp.errors import UserError
from hear_exp.files import file_digest, replacing
from hear_exp.report.figures import number
from hear_exp.report.runs import Comparison, Row, compare, find_runs
from hear_exp.report.runs_table import doubts_text

README = Path(__file__).parents[1] / "README.md"
COMMANDS, TABLE = "command: sweep", "table: sweep"
SCORES = Path("report", "scores.png")
PLOTS = {"events.png": ("demo_events", "logmel"), "confusion.png": ("demo_scene", "crepe")}  # of the run of a model


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 where the README differs from what the folder gives, and --check was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    try:
        return _reproduce(README, options.folder.resolve(), options.check)
    except Exception as error:
        if not is_expected(error):
            raise
        leave(sentence(error))


def _reproduce(readme: Path, folder: Path, check: bool) -> int:
    if not check and not (folder / "runs").exists():
        run_commands(readme, folder)
    comparisons = _comparisons(folder)
    table = filled(between(readme, TABLE), comparisons)
    pictures = {readme.parent / "docs" / "images" / name: path for name, path in _pictures(folder, comparisons)}
    differing = [readme] if table != between(readme, TABLE) else []
    differing += [shown for shown, path in pictures.items() if not _same(shown, path)]
    for path in differing:
        print(f"{'differs' if check else 'wrote'}: {path}")
    if not check:
        replace(readme, TABLE, table)
        for shown, path in pictures.items():
            with path.open("rb") as source, replacing(shown, "wb") as copy:
                shutil.copyfileobj(source, copy)
    results = [row.result for comparison in comparisons for row in comparison.rows]
    print(f"{len(results)} runs of {sum(sum(result.seconds.values()) for result in results) / 60:.1f} minutes in all")
    print("\n".join(doubts_text(comparisons)))
    return int(check and bool(differing))


def run_commands(readme: Path, folder: Path) -> None:
    """Run what the README shows between its markers, in ``folder``, with this Python. Raises UserError if one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in between(readme, COMMANDS).splitlines():
        if line.startswith("python "):
            print(f"$ {line}", flush=True)
            if status := subprocess.run([sys.executable, *shlex.split(line)[1:]], cwd=folder).returncode:
                raise UserError(f"{line}\nended with status {status} in {folder}")


def _comparisons(folder: Path) -> list[Comparison]:
    runs, unreadable = find_runs(folder)
    if unreadable or not runs:
        raise UserError(f"{folder / 'runs'}: finished runs of the README's sweep are expected; {unreadable or 'none'}")
    return compare(runs)


def filled(table: str, comparisons: Sequence[Comparison]) -> str:
    """The Markdown table with every score replaced by that of the runs, a task's best in bold.

    ``table``: columns task (its name in backticks, then words), score (words), and one for each model.
    Raises UserError where runs and table do not hold the same tasks and models.
    """
    head, line, *rows = table.splitlines()
    models = [cell.strip() for cell in head.strip("|").split("|")][2:]
    by_task = {comparison.task.name: comparison for comparison in comparisons}
    shown = [_task(row) for row in rows]
    _expect_same("tasks", shown, [comparison.task.name for comparison in comparisons])
    lines = [head, line]
    for task, row in zip(shown, rows, strict=True):
        comparison = by_task[task]
        _expect_same(f"models on {task}", models, [row.result.model for row in comparison.rows])
        by_model = {row.result.model: row for row in comparison.rows}
        words = [cell.strip() for cell in row.strip("|").split("|")][:2]
        lines.append(f"| {' | '.join([*words, *(_cell(comparison, by_model[model]) for model in models)])} |")
    return "\n".join(lines)


def _task(row: str) -> str:
    found = re.match(r"\| `(\w+)`", row)
    if found is None:
        raise UserError(f"a row of the table begins with a task's name in backticks; here is: {row}")
    return found[1]


def _expect_same(what: str, shown: Sequence[str], found: Sequence[str]) -> None:
    if sorted(shown) != sorted(found):
        raise UserError(f"{what}: the README's table has {', '.join(shown)}; the runs have {', '.join(sorted(found))}")


def _cell(comparison: Comparison, row: Row) -> str:
    text = _three_digits(row.score)
    if row.fold_spread is not None:
        text += f" ± {_three_digits(row.fold_spread)}"
    return f"**{text}**" if comparison.is_best(row) else text


def _three_digits(value: float | None) -> str:
    return number(value) if value is None or not math.isfinite(value) else f"{value:.3f}"


def _pictures(folder: Path, comparisons: Sequence[Comparison]) -> Iterator[tuple[str, Path]]:
    """Each picture's name in docs/images, and the file of the runs that it is a copy of."""
    rows = [row for comparison in comparisons for row in comparison.rows]
    scores = folder / SCORES
    if not scores.exists() or scores.stat().st_mtime < max(
        (run.folder / "result.json").stat().st_mtime for row in rows for run in row.runs
    ):
        raise UserError(f"{scores} is older than the runs, or missing: python -m hear_exp.report {folder} draws it")
    yield SCORES.name, scores
    for name, of in PLOTS.items():
        (run,) = (row.runs[0] for row in rows if (row.result.task, row.result.model) == of)
        yield name, run.folder / "plots" / name


def _same(shown: Path, path: Path) -> bool:
    return shown.exists() and file_digest(shown) == file_digest(path)


if __name__ == "__main__":
    sys.exit(main())
