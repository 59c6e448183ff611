"""A run of its own on wandb: config, curves, tables, pictures and scores."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..lenient import only_warn, reason
from ..safe_text import one_line
from .evaluation import evaluation
from .tracker import Tracker
from .wandb_attempts import Attempt, read_attempt, supersede, write_attempt, writing
from .wandb_config import clean, limited, run_config, run_tags, sweep_id
from .wandb_curves import Curves, number
from .wandb_logger import UPLOADING, WandbLogger, agents_run, without_agent
from .wandb_summary import summary_of, tables_of, winner_of

if TYPE_CHECKING:
    from ..prediction.outcome import FitOutcome, Validation
    from .result import Result
    from .task_id import TaskId

log = logging.getLogger(__name__)

# Metrics that have an axis of their own, which is no metric to look at.
AXES = {"search/fit": "search/*", "curve/epoch": "curve/*"}


class WandbTracker(Tracker):
    """One wandb run of its own, offline unless ``mode`` or WANDB_MODE says otherwise.

    On wandb: the config with dotted names; ``search/*`` as fits end, and all their validations in the table ``curves``
    and the chart ``curves_overlaid``; in the summary the scores (``test/*``), the winner's settings (``winner/*``),
    ``leaderboard/*`` and ``seconds/*``; the winner's learning curve on the first fold (``curve/*`` by epoch); tables of
    the grid and of the folds; the pictures (``plots/*``).

    A job that an agent of a W&B sweep started takes the run which the agent made for it, unless it is one of several
    jobs of a sweep of ours. A job that begins again is a new run, and its earlier one is marked (``wandb_attempts``).
    """

    def __init__(
        self,
        logger: WandbLogger,
        run_folder: Path,
        *,
        config: Mapping[str, Any],
        name: str,
        model: str,
        task: TaskId,
    ):
        predictor = (config.get("predictor") or {}).get("name")
        self._mode: Any = logger.used_mode
        self._folder, self._run_folder = logger.dir.resolve(), run_folder.resolve()
        self._agents = agents_run() is not None and not sweep_id(run_folder)
        self._options: dict[str, Any] = {
            "project": logger.project,
            "entity": logger.entity,
            "tags": run_tags(logger.tags or (), config, task, run_folder),
            "name": limited(one_line(name)),
            "group": limited(one_line(f"{model}/{task}")),
            "job_type": predictor and limited(one_line(str(predictor))),
            "config": run_config(config, task, self._run_folder),
        }
        self._curves = Curves()
        self._first_fold: dict[int, tuple[Validation, ...]] = {}  # by grid point
        self._fits = 0
        self._held = contextlib.ExitStack()
        self._attempt: Attempt | None = None
        self._run: Any = None

    def __enter__(self) -> WandbTracker:
        earlier = read_attempt(self._run_folder)
        earlier = None if earlier is None or earlier.finished else earlier
        if earlier is not None:
            self._options["group"] = earlier.group
            self._options["config"]["run.resumes"] = earlier.id
        self._run = self._start()
        if self._mode == "online":
            log.info("wandb: %s", self._run.url)
        if self._mode != "disabled":
            with only_warn(
                "which wandb run this is was not noted, so that it will not be marked if the job is resumed"
            ):
                self._note_attempt()
        if earlier is not None:
            with only_warn(f"the wandb run of the earlier attempt, {earlier.id}, was not marked as superseded"):
                supersede(earlier, self._run.id, online=self._mode in UPLOADING)
        for axis, metrics in AXES.items():
            self._run.define_metric(axis, hidden=True)
            self._run.define_metric(metrics, step_metric=axis, summary="none")
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._fits and not self._curves.complete:
                self._run.log(self._curves.media())
        finally:
            self._run.finish(exit_code=0 if error[0] is None else 1)
            self._held.close()
        if self._attempt is not None and error[0] is None:
            write_attempt(self._run_folder, dataclasses.replace(self._attempt, finished=True))
        if self._mode == "offline":
            log.info("upload with: %s", self._sync())

    def _sync(self) -> str:
        return f"wandb sync {shlex.quote(_short(Path(self._run.settings.sync_dir)))}"

    @property
    def again(self) -> str:
        """How a record that failed is made after all."""
        return f"upload what wandb kept with: {self._sync()}, or else {super().again}"

    def fit_done(self, outcome: FitOutcome) -> None:
        """Log where the search stands, and the curves where they have grown enough."""
        self._fits += 1
        if outcome.job.fold_index == 0:
            self._first_fold[outcome.job.point] = outcome.curve
        self._curves.add(outcome)
        values = {
            "fit": self._fits,
            "validation_score": number(outcome.validation_score),
            "validation_loss": number(outcome.validation_loss),
            "epochs_run": outcome.epochs_run,
            "seconds": outcome.seconds,
        }
        media = self._curves.media() if self._curves.due else {}
        self._run.log({f"search/{key}": value for key, value in values.items() if value is not None} | media)

    def finish(self, result: Result, pictures: Sequence[Path], folder: Path) -> None:
        """Write the summary and the doubts, then log the curves, tables and pictures, which may fail without them."""
        import wandb

        found: dict[str, Any] = {f"versions.{package}": version for package, version in result.versions.items()}
        found |= {f"task_{name}": value for name, value in dataclasses.asdict(result.task_id).items()}
        found |= {"embedding_key": result.embedding_key, "identity": result.identity, "run.identity": result.identity}
        found |= {"evaluation": evaluation(result), "folder": str(folder), "doubts": list(result.doubts)}
        self._run.config.update(clean(found), allow_val_change=True)
        self._run.summary.update(clean(summary_of(result)))
        for validation in self._first_fold.get(winner_of(result), ()):
            values = {
                "epoch": validation.epoch,
                "train_loss": number(validation.train_loss),
                "validation_loss": number(validation.loss),
                "validation_score": number(validation.score),
            }
            self._run.log({f"curve/{key}": value for key, value in values.items() if value is not None})
        media = tables_of(result)
        if not self._curves.complete:
            media |= self._curves.media()
        names = [picture.relative_to(folder).with_suffix("").as_posix() for picture in pictures]  # plots/NAME
        media |= {name: wandb.Image(str(picture)) for name, picture in zip(names, pictures, strict=True)}
        self._run.log(media)

    def _start(self) -> Any:
        """A new run of our own, or the agent's, whatever an unfinished run of this process says."""
        options = {**self._options, "id": secrets.token_hex(4)}
        # Uploaded runs are new ones: a WANDB_RESUME is not about this run.
        options["resume"] = "never" if self._mode == "online" else None
        if self._agents:  # whose project, id and parameters wandb takes from the environment
            options = {name: value for name, value in self._options.items() if name not in ("project", "entity")}
        try:
            import wandb

            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.nullcontext() if self._agents else without_agent():
                return wandb.init(
                    **options,
                    dir=str(self._folder),
                    mode=self._mode,
                    reinit="create_new",
                    save_code=False,
                    settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
                )
        except Exception as error:  # wandb's own, its settings' (pydantic), the network's, a broken import's
            hint = "log in with `wandb login`, or record offline with WANDB_MODE=offline"
            hint = hint if self._mode == "online" else "see conf/logger/wandb.yaml"
            raise UserError(
                f"wandb did not start (mode {self._mode}): {reason(error)} ({hint}; logger=none goes without wandb)"
            ) from error

    def _note_attempt(self) -> None:
        """Write RUN/wandb.json, and hold the folder of the wandb run against an upload of half a run."""
        run, folder = self._run, Path(self._run.settings.sync_dir)
        self._attempt = Attempt(
            run.id, str(run.project), str(run.entity or ""), self._options["group"], self._mode, str(folder)
        )
        write_attempt(self._run_folder, self._attempt)
        self._held.enter_context(writing(folder))


def _short(path: Path) -> str:
    """A path relative to the current folder where it is inside it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
