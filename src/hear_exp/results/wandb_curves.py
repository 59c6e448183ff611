"""The learning curves of a whole search on wandb: one table, and one chart with a line a fit, while fits end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome

TABLE, CHART = "curves", "curves_overlaid"
COLUMNS = ("fold", "grid_point", "epoch", "train_loss", "validation_loss", "validation_score")
GROWTH = 1.5  # all that is uploaded, anew each time, is then at most three times the last table
CHART_POINTS = 10_000  # wandb's charts see no more rows of a table


@dataclass(frozen=True)
class Line:
    """The validations of a fit: ``name`` says which fit; undefined values are None."""

    name: str
    epochs: tuple[int, ...]
    values: tuple[float | None, ...]


class Curves:
    """Collects the validations of fits as they end.

    wandb keeps a table that has grown as a new one, whole. So the table is logged when it has grown by half, and at
    the end: a hundred fits make about twelve of them.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []  # of COLUMNS
        self._lines: list[Line] = []
        self._logged = 0  # rows
        self._monitor = "score"

    def add(self, outcome: FitOutcome) -> None:
        """Take in a fit that has ended."""
        job, self._monitor = outcome.job, outcome.monitor
        shown: list[float | None] = []
        for validation in outcome.curve:
            train, loss, score = map(number, (validation.train_loss, validation.loss, validation.score))
            self.rows.append((job.fold.test, job.point, validation.epoch, train, loss, score))
            shown.append(loss if outcome.monitor == "loss" else score)
        if shown:
            epochs = tuple(validation.epoch for validation in outcome.curve)
            self._lines.append(Line(f"{job.fold.test}, point {job.point}", epochs, tuple(shown)))

    @property
    def due(self) -> bool:
        """Whether the table has grown enough to be logged again."""
        return len(self.rows) > 0 and len(self.rows) >= GROWTH * self._logged

    @property
    def complete(self) -> bool:
        """Whether all rows have been logged."""
        return len(self.rows) == self._logged

    def media(self) -> dict[str, Any]:
        """The table and the chart of all fits so far, to be logged."""
        import wandb

        self._logged = len(self.rows)
        lines = [thinned(line, CHART_POINTS // len(self._lines)) for line in self._lines]
        chart = wandb.plot.line_series(
            xs=[line.epochs for line in lines],
            ys=[line.values for line in lines],
            keys=[line.name for line in lines],
            title=f"validation {self._monitor} of every fit (fold tested on, grid point)",
            xname="epoch",
            split_table=True,  # the chart's own table goes into a section of its own
        )
        table = wandb.Table(columns=list(COLUMNS), data=[list(row) for row in self.rows], allow_mixed_types=True)
        return {TABLE: table, CHART: chart}


def thinned(line: Line, most: int) -> Line:
    """``line`` with at most ``most`` of its points, evenly chosen, the first and the last among them."""
    count, most = len(line.epochs), max(2, most)
    if count <= most:
        return line
    kept = [round(i * (count - 1) / (most - 1)) for i in range(most)]
    return Line(line.name, tuple(line.epochs[i] for i in kept), tuple(line.values[i] for i in kept))


def number(value: float) -> float | None:
    """``value``; None where it is not finite, which wandb's charts cannot show."""
    return float(value) if math.isfinite(value) else None
