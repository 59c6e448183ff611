"""The composed config as one typed object: what every option may be, checked before anything heavy is imported.

conf/ says what each option does. Three groups are the objects of the rooms that they are for, which check them:
``model``, ``protocol`` and ``logger``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from ..embeddings.batching import check_batch_seconds
from ..embeddings.model_choice import Model, describe_model
from ..errors import UserError
from ..prediction.predictor import Predictor, find_predictor
from ..prediction.protocol import Protocol, protocol_from_config
from ..results.tracking import Logger
from .fields import Count, Group, expected, made_by, one_of, or_none

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]  # Lightning's names
Stage = Literal["all", "embed", "fit"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]  # Lightning's names


class Data(Group):
    """The group ``data``."""

    in_memory: Annotated[Literal[True, False, "auto"], expected("true, false or auto")]


class Search(Group):
    """The group ``search``."""

    workers: Annotated[Count | Literal["auto"], expected("a number from 1 up, or auto")]
    threads: Count


class Device(Group):
    """What the group ``trainer`` says of where to compute."""

    accelerator: Annotated[Accelerator, one_of(Accelerator)]


class Trainer(Device):
    """The group ``trainer``."""

    precision: Annotated[Precision, one_of(Precision)]


class Paths(Group):
    """Of the group ``paths``, the folders that a run itself looks into; others are where options say ``${paths.X}``."""

    embeddings: Path
    fits: Path
    finished: Path


class TaskSettings(Group):
    """What HEAR 2021 set for a task outside its metadata, which calls it ``task_name``."""

    task_name: str | None = None
    predictor_grid: Mapping[str, Any] = {}
    postprocessing_grid: Mapping[str, Any] = {}
    early_stop_on_score: bool = True


class TaskChoice(TaskSettings):
    """The group ``task``: a task's folder and settings of its own.

    ``archives`` are those to download, ``parts`` the folders in ``path`` of a task that HEAR published in parts. The
    other groups of a task's file are for people to read.
    """

    name: str
    path: Annotated[Path | None, or_none]
    demo: bool = False
    archives: tuple[str, ...] | None = None
    parts: tuple[str, ...] | None = None
    leaderboard: str | None = None


def _named(name: Any) -> str:
    if not name:
        raise UserError("predictor.name is missing: a predictor config has one, which names it in the results")
    return str(name)


class PredictorChoice(Group):
    """The group ``predictor``: a class, and its ``hyperparameters``, which the class checks."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, PlainValidator(_named)] = Field("", validate_default=True)
    kind: Annotated[type[Predictor], PlainValidator(find_predictor)] = Field(
        None, alias="_target_", validate_default=True
    )

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """By name; lists are searched, single values fixed."""
        return dict(self.model_extra or {})


def _seconds(value: Any) -> Any:
    check_batch_seconds(value)
    return value


class Computed(Group):
    """``embeddings=compute``: made with the model."""

    name: Literal["compute"]
    batch_seconds: Annotated[float, PlainValidator(_seconds)]


class Imported(Group):
    """``embeddings=heareval``: those of ``path``, which heareval wrote; ``model`` names the model in the results."""

    name: Literal["heareval"]
    path: Annotated[Path | None, or_none]
    model: str


class Settings(Group):
    """All that ``python -m hear_exp`` is told."""

    seed: Annotated[int, Field(strict=True, ge=0), expected("a whole number from 0 up")]
    stage: Annotated[Stage, one_of(Stage)]
    rerun: Annotated[Literal[True, False], expected("true or false")]
    data: Data
    search: Search
    model: Annotated[Model, made_by(describe_model)]
    task: TaskChoice
    predictor: PredictorChoice
    protocol: Annotated[Protocol, made_by(protocol_from_config)]
    embeddings: Annotated[Computed | Imported, Field(discriminator="name")]
    trainer: Trainer
    logger: Annotated[Logger, Field(discriminator="name")]
    paths: Paths

    @model_validator(mode="after")
    def _stage_has_an_effect(self) -> Settings:
        if self.stage == "embed" and isinstance(self.embeddings, Imported):
            raise UserError("stage=embed has no effect with embeddings=heareval, which takes embeddings that are there")
        return self


class ExportSettings(Settings):
    """All that ``python -m hear_exp.export_heareval`` is told."""

    out: Path
