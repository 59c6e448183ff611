"""``python -m hear_exp model=MODEL task=TASK``: from a task's audio to a score, in one command."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take their time
    from .interrupts import answer_signals

    answer_signals()

from pathlib import Path
from typing import Any

from .cli.choices import Choices
from .cli.edge import start


def run(config: dict[str, Any], folder: Path, choices: Choices) -> None:
    """Embed a task with a model, search a predictor on the embeddings, test it, record the result.

    ``folder`` receives what the run leaves behind, result.json first: whatever fails after it is a warning.
    Raises UserError for a user's mistake.
    """
    # Imported here: --help and typing mistakes need none of it, nor does a mistake need torch, which comes last.
    from .settings.config import Settings
    from .settings.fields import read
    from .settings.plans import make_plans

    settings = read(Settings, config)
    plans = make_plans(settings, folder, choices)
    from .pipeline import evaluate

    evaluate(settings, plans, folder, config)


if __name__ == "__main__":
    start(run)
