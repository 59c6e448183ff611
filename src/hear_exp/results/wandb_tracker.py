"""A run of its own on wandb: config, curves, tables, pictures and scores."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from ..files import json_digest
from ..lenient import reason
from .evaluation import evaluation
from .tracker import Tracker

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome, Validation
    from .result import FoldResult, GridResult, Result
    from .task_id import TaskId

log = logging.getLogger(__name__)

WANDB_NAME_LENGTH = 128  # wandb refuses longer names and groups


@dataclass(frozen=True)
class WandbLogger:
    """``logger=wandb``: where on wandb, and in which folder of this machine; conf/logger/wandb.yaml explains each."""

    project: str
    dir: Path
    mode: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] | None = None
    name: Literal["wandb"] = "wandb"


class WandbTracker(Tracker):
    """One wandb run of its own, offline unless ``mode`` or WANDB_MODE says otherwise.

    On wandb: the config with dotted names; ``search/*`` as fits end; in the summary the scores (``test/*``),
    the winner's settings (``winner/*``), ``leaderboard/*`` and ``seconds/*``; the winner's learning curve on the
    first fold (``curve/*`` by epoch); tables of the grid and of the folds; the pictures (``plots/*``).
    """

    def __init__(
        self,
        logger: WandbLogger,
        *,
        config: Mapping[str, Any],
        name: str,
        model: str,
        task: TaskId,
    ):
        predictor = config.get("predictor", {}).get("name")
        self._mode: Any = logger.mode or os.environ.get("WANDB_MODE") or "offline"
        self._folder = logger.dir.resolve()
        self._options: dict[str, Any] = {
            "project": logger.project,
            "entity": logger.entity,
            "tags": list(logger.tags or ()),
            "name": _limited(name),
            "group": _limited(f"{model}/{task}"),
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
            log.info("upload with: %s", self._sync())

    def _sync(self) -> str:
        return f"wandb sync {shlex.quote(_short(Path(self._run.settings.sync_dir)))}"

    @property
    def again(self) -> str:
        """How a record that failed is made after all."""
        return f"upload what wandb kept with: {self._sync()}, or else {super().again}"

    def fit_done(self, outcome: FitOutcome) -> None:
        """Log where the search stands."""
        self._fits += 1
        if outcome.job.fold_index == 0:
            self._curves[outcome.job.point] = outcome.curve
        values = {
            "fit": self._fits,
            "validation_score": _number(outcome.validation_score),
            "validation_loss": _number(outcome.validation_loss),
            "epochs_run": outcome.epochs_run,
            "seconds": outcome.seconds,
        }
        self._run.log({f"search/{key}": value for key, value in values.items() if value is not None})

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Write the summary and the doubts, then log the curve, tables and pictures, which may fail without them."""
        import wandb

        versions = {f"versions.{package}": version for package, version in result.versions.items()}
        task = {f"task_{name}": value for name, value in dataclasses.asdict(result.task_id).items()}
        own = {"embedding_key": result.embedding_key, "identity": result.identity, "folder": str(folder)}
        own["evaluation"] = evaluation(result)  # without a dot in its name, which wandb's filters do not take
        self._run.config.update({**versions, **task, **own, "doubts": list(result.doubts)})
        self._run.summary.update(_summary(result))
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
            hint = "log in with `wandb login`, or record offline with WANDB_MODE=offline"
            hint = hint if self._mode == "online" else "see conf/logger/wandb.yaml"
            raise UserError(
                f"wandb did not start (mode {self._mode}): {reason(error)} ({hint}; logger=none goes without wandb)"
            ) from error


def _limited(name: str) -> str:
    """``name``, cut where wandb would refuse it; names that differ after the cut still differ."""
    if len(name) <= WANDB_NAME_LENGTH:
        return name
    return f"{name[: WANDB_NAME_LENGTH - 9]}-{json_digest(name)[:8]}"


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


def _winner(result: Result) -> int:
    """The winner's place in the grid."""
    return next(
        i
        for i, point in enumerate(result.grid)
        if point.hyperparameters == result.hyperparameters
        and (point.validation_score, point.validation_loss) == (result.validation_score, result.validation_loss)
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
