"""What records a run besides its own folder: the base of the trackers, and how their failures are borne."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..lenient import only_warn

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome
    from .result import Result


class Tracker:
    """Records nothing; the other trackers' base.

    A context manager around one run: leaving it with an exception closes the record as failed. Inside,
    ``fit_done`` is called as fits end and ``finish`` once, when everything is known.
    """

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def fit_done(self, outcome: FitOutcome) -> None:
        """Record a fit that has ended."""

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Record the result; ``folder`` is the run's, ``pictures`` are in it."""

    @property
    def again(self) -> str:
        """How a record that failed is made after all."""
        return "the same command with rerun=true makes and records the run again (its embeddings are kept)"


class Careful(Tracker):
    """Another tracker, none of whose failures after its start costs the run anything: they are warnings."""

    def __init__(self, tracker: Tracker):
        self._tracker = tracker
        self._fits = True  # whether fits are still recorded

    def __enter__(self) -> Careful:
        self._tracker.__enter__()  # what cannot start is an error: no work is lost by it yet
        return self

    def __exit__(self, *error: object) -> None:
        with only_warn("the run's record was not closed", self._tracker.again):
            self._tracker.__exit__(*error)

    def fit_done(self, outcome: FitOutcome) -> None:
        """Record a fit that has ended; once that fails, no others are recorded."""
        if self._fits:
            self._fits = False
            with only_warn("a fit was not recorded, nor will the following ones be", self._tracker.again):
                self._tracker.fit_done(outcome)
                self._fits = True

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Record the result."""
        with only_warn(f"the result was not recorded (it is in {folder / 'result.json'})", self._tracker.again):
            self._tracker.finish(result, pictures, folder)
