"""A sweep after it was started.

    python -m hear_exp.sweep status FOLDER
    python -m hear_exp.sweep resume FOLDER
    python -m hear_exp.sweep cancel FOLDER
    python -m hear_exp.sweep collect FOLDER... [into=ROOT]

FOLDER is a sweep's, runs/sweeps/DATE for example. ``status`` shows its jobs, ``resume`` runs those that are missing,
``cancel`` ends those that were handed to a scheduler, and ``collect`` copies results into one root.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals("what is written already stays")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..lenient import reason
from ..safe_text import lines
from .cancel import cancel
from .collect import collect
from .resume import resume
from .status import status


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "collect":
            sources, root = _collected(options.folders)
            return collect(sources, root)
        return int({"status": status, "resume": resume, "cancel": cancel}[options.command](_path(options.folder)))
    except (UserError, OSError) as error:
        print(lines(f"hear_exp: {error if isinstance(error, UserError) else reason(error)}"), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hear_exp.sweep", description="A sweep after it was started.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("status", "show how far each job is; the exit status is 1 while one has failed"),
        ("resume", "run the jobs that are missing, with the command that started the sweep"),
        ("cancel", "end the jobs that were handed to Slurm, or to processes of this machine"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("folder", help="the sweep's folder, runs/sweeps/DATE for example")
    what = "copy results of other folders or machines into one root"
    command = commands.add_parser("collect", help=what, description=what)
    command.add_argument("folders", nargs="+", metavar="FOLDER", help="a root, a sweep or a run; then into=ROOT")
    return parser


def _collected(words: Sequence[str]) -> tuple[list[Path], Path]:
    roots = [word.removeprefix("into=") for word in words if word.startswith("into=")]
    sources = [_path(word) for word in words if not word.startswith("into=")]
    if len(roots) > 1 or "" in roots or not sources:
        raise UserError(f"collect takes folders and at most one into=ROOT, got {' '.join(words)}")
    return sources, _path(roots[0]) if roots else Path()


def _path(word: str) -> Path:
    return Path(word).expanduser()


if __name__ == "__main__":
    sys.exit(main())
