"""A result as wandb keeps it: the summary's values, and tables of the grid and of the folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .result import FoldResult, GridResult, Result


def summary_of(result: Result) -> dict[str, Any]:
    """Scores (``test/*``), the winner's settings (``winner/*``) and more; what is undefined is left out."""
    summary = {
        "score": result.score,
        "score_std": result.spread,
        "primary_metric": result.primary_metric,
        "validation_score": result.validation_score,
        "validation_loss": result.validation_loss,
        "monitor": result.monitor,
        "doubts": len(result.doubts),
        "clips": result.clips,
        "embedding_dim": result.embedding_dim,
        **{f"test/{name}": value for name, value in result.scores.items()},
        **{f"winner/{name}": value for name, value in result.hyperparameters.items()},
        **{f"seconds/{stage}": seconds for stage, seconds in result.seconds.items()},
        **{f"leaderboard/{name}": value for name, value in _place(result.leaderboard).items()},
    }
    return {name: value for name, value in summary.items() if value is not None}


def _place(leaderboard: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where a comparable score stands among the published ones; of another one only why it has no place."""
    if leaderboard is None:
        return {}
    place = {name: leaderboard[name] for name in ("task", "rank", "of")}
    return place if leaderboard["comparable"] else {"why_not": leaderboard["why_not"]}


def winner_of(result: Result) -> int:
    """The winner's place in the grid."""
    return next(
        i
        for i, point in enumerate(result.grid)
        if point.hyperparameters == result.hyperparameters
        and (point.validation_score, point.validation_loss) == (result.validation_score, result.validation_loss)
    )


def tables_of(result: Result) -> dict[str, Any]:
    """``grid``: a row a grid point, with a column that marks the winner; ``folds``: a row a test split."""
    won = [i == winner_of(result) for i in range(len(result.grid))]
    return {"grid": _table(result.grid, winner=won), "folds": _table(result.folds)}


def _table(records: Sequence[GridResult | FoldResult], **more: Sequence[Any]) -> Any:
    """A wandb.Table: a row for each record, its mappings spread over columns, and the columns ``more``."""
    import wandb

    rows: list[dict[str, Any]] = []
    for i, record in enumerate(records):
        rows.append({})
        for name, value in dataclasses.asdict(record).items():
            rows[-1] |= value if isinstance(value, dict) else {name: value}
        rows[-1] |= {name: values[i] for name, values in more.items()}
    columns: list[str | int] = list(rows[0])
    return wandb.Table(columns=columns, data=[list(row.values()) for row in rows], allow_mixed_types=True)
