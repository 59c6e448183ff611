"""Where a run is recorded besides its own folder: wandb, a CSV file, or nowhere."""

from __future__ import annotations

import csv
import dataclasses
import logging
import math
import os
import secrets
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .errors import UserError

if TYPE_CHECKING:
    from .fit import FitOutcome
    from .predictor import Validation
    from .result import FoldResult, GridResult, Result

log = logging.getLogger(__name__)

WANDB_NAME_LENGTH = 128  # wandb refuses longer names and groups


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


def make_tracker(
    logger_config: Mapping[str, Any],
    *,
    run_folder: Path,
    config: Mapping[str, Any],
    name: str,
    model: str,
    task: str,
) -> Tracker:
    """The tracker that ``logger_config["name"]`` names: wandb, csv or none.

    Args:
        logger_config: the config group ``logger``.
        run_folder: where the run's own files are.
        config: the whole composed config, nested; wandb keeps it with dotted names.
        name: the run's name on wandb; runs are grouped there by ``model`` and ``task``.

    Raises:
        UserError: an unknown name; on entering the tracker, wandb that does not start.
    """
    kind = logger_config["name"]
    if kind == "none":
        return Tracker()
    if kind == "csv":
        return CsvTracker(Path(run_folder) / "metrics.csv")
    if kind == "wandb":
        return WandbTracker(logger_config, config=config, name=name, model=model, task=task)
    raise UserError(f"logger.name is {kind!r}, expected one of: wandb, csv, none")


class CsvTracker(Tracker):
    """Writes one row a metric, at once: stage, fold, grid_point, epoch, name, value.

    Stage ``fit``: a fit ended (``fold``: its test split). ``test``: a fold's test scores. ``result``: the
    run's own figures. What does not apply to a row is empty, as is the value of an undefined score.
    """

    COLUMNS = ("stage", "fold", "grid_point", "epoch", "name", "value")

    def __init__(self, path: Path):
        self._path = Path(path)
        self._file: TextIO | None = None

    def __enter__(self) -> CsvTracker:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", newline="", encoding="utf-8")
        self._write([self.COLUMNS])
        return self

    def __exit__(self, *error: object) -> None:
        assert self._file is not None
        self._file.close()

    def fit_done(self, outcome: FitOutcome) -> None:
        """Append a fit's validation score, epochs and seconds."""
        job = outcome.job
        values = {
            "validation_score": _number(outcome.validation_score),
            "epochs_run": outcome.epochs_run,
            "seconds": round(outcome.seconds, 3),
        }
        self._write(("fit", job.fold.test, job.point, outcome.epoch, *item) for item in values.items())

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Append the scores of each fold and of the run."""
        for fold in result.folds:
            self._write(("test", fold.test_split, "", fold.epoch, *item) for item in fold.scores.items())
        values = {"validation_score": result.validation_score, **result.scores}
        values |= {f"seconds_{stage}": seconds for stage, seconds in result.seconds.items()}
        self._write(("result", "", "", "", *item) for item in values.items())

    def _write(self, rows: Iterable[Sequence[Any]]) -> None:
        assert self._file is not None, "a tracker records inside its with block"
        csv.writer(self._file).writerows(rows)
        self._file.flush()


class WandbTracker(Tracker):
    """One wandb run of its own, offline unless ``mode`` or WANDB_MODE says otherwise.

    On wandb: the config with dotted names; ``search/*`` as fits end; in the summary the scores (``test/*``),
    the winner's settings (``winner/*``) and ``seconds/*``; the winner's learning curve on the first fold
    (``curve/*`` by epoch); tables of the grid and of the folds; the pictures (``plots/*``).
    """

    def __init__(
        self,
        logger_config: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        name: str,
        model: str,
        task: str,
    ):
        predictor = config.get("predictor", {}).get("name")
        self._mode: Any = logger_config.get("mode") or os.environ.get("WANDB_MODE") or "offline"
        self._folder = Path(logger_config["dir"]).resolve()
        self._options = {
            "project": logger_config["project"],
            "entity": logger_config.get("entity"),
            "tags": [str(tag) for tag in logger_config.get("tags") or ()],
            "name": name[:WANDB_NAME_LENGTH],
            "group": f"{model}/{task}"[:WANDB_NAME_LENGTH],
            "job_type": predictor and str(predictor),
            "config": flat(config),
        }
        self._curves: dict[int, tuple[Validation, ...]] = {}  # by grid point, on the first fold
        self._fits = 0
        self._run: Any = None

    def __enter__(self) -> WandbTracker:
        self._run = self._start()
        if self._mode == "online":
            log.info("wandb: %s", self._run.url)
        self._run.define_metric("search/fit", hidden=True)
        self._run.define_metric("search/*", step_metric="search/fit", summary="none")
        self._run.define_metric("curve/epoch", hidden=True)
        self._run.define_metric("curve/*", step_metric="curve/epoch", summary="none")
        return self

    def __exit__(self, *error: object) -> None:
        self._run.finish(exit_code=0 if error[0] is None else 1)
        if self._mode == "offline":
            folder = Path(self._run.settings.sync_dir)
            log.info("upload with: wandb sync %s", shlex.quote(_short(folder)))

    def fit_done(self, outcome: FitOutcome) -> None:
        """Log where the search stands."""
        self._fits += 1
        if outcome.job.fold_index == 0:
            self._curves[outcome.job.point] = outcome.curve
        values = {
            "fit": self._fits,
            "validation_score": _number(outcome.validation_score),
            "epochs_run": outcome.epochs_run,
            "seconds": outcome.seconds,
        }
        self._run.log({f"search/{key}": value for key, value in values.items() if value is not None})

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Log the curve, tables and pictures, then write the summary."""
        import wandb

        for validation in self._curves.get(_winner(result), ()):
            values = {
                "epoch": validation.epoch,
                "train_loss": _number(validation.train_loss),
                "validation_loss": _number(validation.loss),
                "validation_score": _number(validation.score),
            }
            self._run.log({f"curve/{key}": value for key, value in values.items() if value is not None})
        won = [i == _winner(result) for i in range(len(result.grid))]
        media = {"grid": _table(result.grid, winner=won), "folds": _table(result.folds)}
        names = [picture.relative_to(folder).with_suffix("").as_posix() for picture in pictures]  # plots/NAME
        media |= {name: wandb.Image(str(picture)) for name, picture in zip(names, pictures, strict=True)}
        self._run.log(media)
        versions = {f"versions.{package}": version for package, version in result.versions.items()}
        self._run.config.update({**versions, "embedding_key": result.embedding_key, "folder": str(folder)})
        self._run.summary.update(_summary(result))

    def _start(self) -> Any:
        """A new run of our own, whatever the environment or an unfinished run of this process says."""
        try:
            import wandb

            self._folder.mkdir(parents=True, exist_ok=True)
            return wandb.init(
                **self._options,
                id=secrets.token_hex(4),
                dir=str(self._folder),
                mode=self._mode,
                reinit="create_new",
                resume="never" if self._mode == "online" else None,  # a WANDB_RESUME is not about this run
                save_code=False,
                settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
            )
        except Exception as error:  # wandb's own, its settings' (pydantic), the network's, a broken import's
            reason = " ".join(str(error).split()) or type(error).__name__
            hint = "log in with `wandb login`, or record offline with WANDB_MODE=offline"
            hint = hint if self._mode == "online" else "see conf/logger/wandb.yaml"
            raise UserError(
                f"wandb did not start (mode {self._mode}): {reason} ({hint}; logger=none goes without wandb)"
            ) from error


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config with dotted names: {"predictor": {"lr": 1}} -> {"predictor.lr": 1}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value) if isinstance(value, Path) else value
    return found


def _summary(result: Result) -> dict[str, Any]:
    summary = {
        "score": result.score,
        "score_std": result.spread,
        "primary_metric": result.primary_metric,
        "validation_score": result.validation_score,
        "clips": result.clips,
        "embedding_dim": result.embedding_dim,
        **{f"test/{name}": value for name, value in result.scores.items()},
        **{f"winner/{name}": value for name, value in result.hyperparameters.items()},
        **{f"seconds/{stage}": seconds for stage, seconds in result.seconds.items()},
    }
    return {name: value for name, value in summary.items() if value is not None}


def _winner(result: Result) -> int:
    """The winner's place in the grid."""
    return next(
        i
        for i, point in enumerate(result.grid)
        if point.hyperparameters == result.hyperparameters and point.validation_score == result.validation_score
    )


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


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _short(path: Path) -> str:
    """A path relative to the current folder where it is inside it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
