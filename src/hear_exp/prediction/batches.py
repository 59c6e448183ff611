"""Whether a predictor can train on the batches that a task's rows make; known before anything is embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..tasks.folder import Task, folds
from .protocol import Protocol


def needs_two_rows(hyperparameters: Mapping[str, Any]) -> bool:
    """Whether the predictor has BatchNorm, which cannot train on a batch of one row."""
    return hyperparameters.get("hidden_layers", 0) > 0


def check_batches(
    task: Task, protocol: Protocol, points: Sequence[Mapping[str, Any]], rows: Mapping[str, int] | None = None
) -> None:
    """Raise UserError for a fold and a grid point whose training batches BatchNorm cannot train on; names all.

    ``rows``: split -> number of embeddings. Without it a scene task has one a clip; of an event task nothing is known
    before it is embedded.
    """
    if rows is None:
        if task.embedding_type == "event":
            return
        rows = {split.name: len(split.clips) for split in task.splits}
    sizes = sorted({point["batch_size"] for point in points if needs_two_rows(point)})
    triples, singles = folds(task), dict[tuple[int, int], list[str]]()
    for fold in triples:
        count = sum(rows[split] for split in fold.train)
        for size in sizes:
            check_two_rows(count, size)
            if protocol.last_batch_of_one == "error" and count % size == 1:
                singles.setdefault((count, size), []).append(fold.test)
    if singles:
        raise single_row_error(singles if len(triples) > 1 else dict.fromkeys(singles, ()))


def check_two_rows(count: int, batch_size: int) -> None:
    """Raise UserError where not even two of ``count`` training rows come together."""
    if count == 1 or batch_size == 1:
        raise UserError(
            f"training needs at least two rows a batch (BatchNorm): {count} training rows, batch_size {batch_size}"
        )


def single_row_error(singles: Mapping[tuple[int, int], Sequence[str]]) -> UserError:
    """The error for last batches of one row; ``singles``: (training rows, batch size) -> test splits of the folds."""
    faults = [
        f"{count} training rows in batches of {size} leave a last batch of one row"
        + (f" (tested on {', '.join(tests)})" if tests else "")
        for (count, size), tests in singles.items()
    ]
    return UserError(
        f"{'; '.join(faults)}, on which BatchNorm cannot train: HEAR 2021 stopped here too; protocol=fixed joins it "
        "to the batch before, or choose another predictor.batch_size"
    )
