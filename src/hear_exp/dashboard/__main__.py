"""The runs of a project on wandb as a saved workspace and a report.

    python -m hear_exp.dashboard project=NAME [entity=NAME] [out=FOLDER]

saves both on wandb (after `wandb login`), or with out=FOLDER writes their specifications and pictures of their layout
into files, and calls nobody.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals("what is saved already stays")

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..cli.sentences import is_expected, sentence
from ..errors import UserError
from ..files import write_json
from ..safe_text import lines
from .options import HELP, Options, default_project, domains, read_options

INSTALL = "pip install 'wandb-workspaces>=0.4.13,<0.5'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Save the dashboard, or write it to files; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hear_exp.dashboard",
        description="The runs of a project on wandb as a saved workspace and a report.",
        epilog=_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("options", nargs="*", metavar="NAME=VALUE", help="see below")
    try:
        options = read_options(parser.parse_args(arguments).options)
        if find_spec("wandb_workspaces") is None:
            raise UserError(
                f"the dashboard needs the package wandb-workspaces: {INSTALL}, or hear_exp's extra dashboard"
            )
        if options.out is not None:
            for path in write_files(options, options.out):
                print(lines(f"wrote {path}"))
        else:
            from .save import save

            saved = save(options)
            print(lines(f"workspace: {saved.workspace}\nreport: {saved.report}"))
    except Exception as error:
        if not is_expected(error):
            raise
        print(lines(f"hear_exp: {sentence(error)}"), file=sys.stderr)
        return 1
    return 0


def write_files(options: Options, folder: Path) -> list[Path]:
    """Write workspace.json and report.json, and of each a picture of its layout; returns their paths."""
    from .described import described
    from .picture import draw_layout
    from .report import make_report
    from .workspace import make_workspace

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in (("workspace", make_workspace), ("report", make_report)):
        description = described(make(options))
        written.append(write_json(folder / f"{name}.json", description))
        written.append(draw_layout(description, folder / f"{name}.png"))
    return written


def _help() -> str:
    values = {"project": default_project(), "domains": ", ".join(domains())}
    return "options:\n" + "\n".join(f"  {name + '=...':15} {text.format(**values)}" for name, text in HELP.items())


if __name__ == "__main__":
    sys.exit(main())
