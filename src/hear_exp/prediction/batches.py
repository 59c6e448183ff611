"""Whether a predictor can train on the batches that a task's rows make; known before anything is embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import UserError
from ..tasks.folder import Task, folds
from .predictor import Predictor
from .protocol import Protocol


def check_batches(
    task: Task, protocol: Protocol, points: Sequence[Predictor], rows: Mapping[str, int] | None = None
) -> None:
    """Raise UserError for a fold and a grid point whose training batches BatchNorm cannot train on; names all.

    A predictor that sees neighbouring frames is refused where there are none.

    ``rows``: split -> number of embeddings. Without it a scene task has one a clip; of an event task nothing is known
    before it is embedded.
    """
    if task.embedding_type != "event" and any(point.context_frames for point in points):
        raise UserError(
            f"the predictor {type(points[0]).__name__} sees {points[0].context_frames} frames on each side of a frame, "
            f"and {task.name} has one embedding a clip: take it for event tasks"
        )
    if rows is None:
        if task.embedding_type == "event":
            return
        rows = {split.name: len(split.clips) for split in task.splits}
    sizes = sorted({point.batch_size for point in points if point.needs_two_rows})
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
