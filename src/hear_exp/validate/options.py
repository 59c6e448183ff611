"""The options of ``python -m hear_exp.validate``, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ..cli.choices import Choices
from ..embeddings.model_choice import Model, describe_model
from ..errors import UserError
from ..settings.config import Device
from ..settings.fields import Group, expected, made_by, read

# What the options of python -m hear_exp beyond these decide has no part in a validation.
_GROUPS = ("model", "trainer", "validate", "paths", "hydra")


class Limits(Group):
    """The group ``validate``: of the long clip, its minutes and what embedding it may take, in 10^9 bytes."""

    long_minutes: Annotated[float, Field(strict=True, ge=0), expected("a number, 0 (no long clip) or more")]
    memory_gb: Annotated[float, Field(strict=True, gt=0), expected("a number, above 0")]


class ValidationSettings(Group):
    """All that a validation is told. Whether the model is there is for the validation to report."""

    model: Annotated[Model, made_by(describe_model)]
    trainer: Device
    limits: Limits = Field(alias="validate")


def check(config: Mapping[str, Any], choices: Choices) -> ValidationSettings:
    """The settings of a validation. Raises UserError for one that cannot work, or an option without effect on one."""
    for override in choices.typed_outside(*_GROUPS):
        raise UserError(f"{override} has no effect on a validation; it takes options of {', '.join(_GROUPS)}")
    return read(ValidationSettings, config)
