"""What wandb recorded offline, uploaded.

    python -m hear_exp.sync [FOLDER...]

uploads the offline runs in FOLDER/wandb (FOLDER: paths.root of the runs, by default the current folder; or a folder
of wandb's, or a single offline run), each once, and goes on after one that fails. --dry-run only shows them.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals("what is uploaded stays so, and the same command uploads the rest")

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import UserError, shown
from ..results.wandb_logger import has_credentials
from ..safe_text import lines, one_line
from .runs import OfflineRun, find_runs
from .upload import Outcome, plan, upload

LIMIT_S = 900.0
STYLES = {"failed": "bold red", "skipped": "dim"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload; returns the exit status, 1 where a run failed."""
    parser = argparse.ArgumentParser(prog="python -m hear_exp.sync", description="Upload wandb's offline runs, once.")
    parser.add_argument("words", nargs="*", metavar="FOLDER", help="paths.root of the runs (default: this folder)")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be uploaded; also: dry=true")
    parser.add_argument(
        "--limit-s", type=float, default=LIMIT_S, help="seconds for a run's upload [900]; also: limit_s=SECONDS"
    )
    typed = parser.parse_intermixed_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 1000)
    try:
        folders, dry, limit_s = _options(typed.words, typed.dry_run, typed.limit_s)
        outcomes = _run(folders, dry, limit_s, console)
    except UserError as error:
        print(lines(f"hear_exp: {error}"), file=sys.stderr)
        return 1
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    if failed:
        hint = "the same command tries them again"
        print(f"hear_exp: {failed} of {len(outcomes)} runs were not uploaded; {hint}", file=sys.stderr)
    return 1 if failed else 0


def _options(words: Sequence[str], dry: bool, limit_s: float) -> tuple[list[Path], bool, float]:
    """Folders and options, which may also be typed as hear_exp's are: NAME=VALUE."""
    folders = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name == "dry":
            if value not in ("true", "false"):
                raise UserError(f"dry is {shown(value)}, expected true or false")
            dry = value == "true"
        elif equals and name == "limit_s":
            try:
                limit_s = float(value)
            except ValueError:
                raise UserError(f"limit_s is {shown(value)}, expected a number of seconds") from None
        else:
            folders.append(Path(value if name in ("paths.root", "paths.wandb") else word).expanduser())
    if not limit_s > 0:
        raise UserError(f"limit_s is {limit_s:g}, expected a number of seconds above 0")
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise UserError(
            f"{', '.join(missing)}: no such folder; expected paths.root of some runs, or a folder of wandb's"
        )
    return folders or [Path()], dry, limit_s


def _run(folders: Sequence[Path], dry: bool, limit_s: float, console: Console) -> list[Outcome]:
    runs = find_runs(folders)
    if not runs:
        places = ", ".join(str(folder / "wandb") for folder in folders)
        console.print(Text(lines(f"no offline runs of wandb in {places}")))
        return []
    done = {run.folder: plan(run) for run in runs}
    todo = [run for run in runs if done[run.folder] is None]
    if todo and not dry and not has_credentials():
        raise UserError(
            f"{len(todo)} runs are to be uploaded, but there is no key for wandb: log in with `wandb login`, or set "
            "WANDB_API_KEY"
        )
    outcomes = []
    for run in runs:
        outcome = done[run.folder]
        if outcome is None and dry:
            outcome = _would(run)
        elif outcome is None:
            console.print(Text(one_line(f"uploading {todo.index(run) + 1} of {len(todo)}: {run.folder}"), style="dim"))
            outcome = upload(run, limit_s)
        outcomes.append(outcome)
    _show(outcomes, console)
    return outcomes


def _would(run: OfflineRun) -> Outcome:
    tag = f", tagged as superseded by {run.mark.by}" if run.mark else ""
    return Outcome(run, "would be tagged" if run.uploaded else "would be uploaded", tag.removeprefix(", "))


def _show(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("run", "", "", box=None, pad_edge=False)
    for outcome in outcomes:
        name = Text(one_line(str(outcome.run.folder)), overflow="fold")
        table.add_row(name, Text(outcome.state, STYLES.get(outcome.state, "green")), Text(one_line(outcome.note)))
    console.print(table)
    counts = Counter(outcome.state for outcome in outcomes)
    console.print(", ".join(f"{count} {state}" for state, count in counts.items()))


if __name__ == "__main__":
    sys.exit(main())
