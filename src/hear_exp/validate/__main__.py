"""``python -m hear_exp.validate model=MODEL``: does a model keep the HEAR API, and well?

Prints a report, writes it to validation.json in the run's folder, and ends with status 1 where a check fails.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from ..interrupts import answer_signals

    answer_signals()

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cli.choices import Choices
from ..cli.edge import start
from ..cli.run_record import begin
from ..errors import UserError
from ..files import write_json
from .options import check

if TYPE_CHECKING:
    from .checks import Finding

_COLOURS = {"pass": "green", "warning": "yellow", "fail": "bold red", "skipped": "dim"}


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Run all checks on the model that ``model`` names. Raises UserError where one fails."""
    settings = check(config, choices)
    begin(folder)
    limits, model = settings.limits, settings.model
    from rich.console import Console

    from ..embeddings.encoder import pick_device
    from ..progress import console
    from .checks import Subject, run_checks
    from .conduct import CHECKS

    device = pick_device(settings.trainer.accelerator)
    subject = Subject(model, device, limits.long_minutes, limits.memory_gb)
    findings: list[Finding] = []
    with console.status("") as status:
        iterator = run_checks(subject, CHECKS)
        for each in CHECKS:
            status.update(f"{each.name} ({len(findings) + 1} of {len(CHECKS)})")
            findings.append(next(iterator))
    write_findings(folder / "validation.json", model.name, device.type, findings)
    print_findings(Console(), f"{model.name} on {device.type}", findings)
    failed = [finding.check for finding in findings if finding.status == "fail"]
    if failed:
        raise UserError(f"model {model.name} fails {len(failed)} of {len(findings)} checks: {', '.join(failed)}")


def print_findings(console: Any, title: str, findings: Sequence[Finding]) -> None:
    """Print a table of the findings and a line that counts them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("reason", overflow="fold")  # whole, so that a command in it can be copied
    for finding in findings:
        table.add_row(finding.check, Text(finding.status, style=_COLOURS[finding.status]), Text(finding.reason))
    console.print(table)
    counts = Counter(finding.status for finding in findings)
    console.print(", ".join(f"{counts[status]} {status}" for status in _COLOURS if counts[status]))


def write_findings(path: Path, model: str, device: str, findings: Sequence[Finding]) -> None:
    """Write the findings as JSON."""
    content = {"model": model, "device": device, "checks": [asdict(finding) for finding in findings]}
    write_json(path, content)


if __name__ == "__main__":
    start(run, "validate")
