"""The options of ``python -m hear_exp.validate``, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cli.choices import Choices
from ..embeddings.model_choice import describe_model
from ..errors import UserError
from ..settings.options import check_accelerator

# What the options of python -m hear_exp beyond these decide has no part in a validation.
_GROUPS = ("model", "trainer", "validate", "paths", "hydra")


def check(config: Mapping[str, Any], choices: Choices) -> None:
    """Raises UserError for a validation that cannot work, or an option that has no effect on one."""
    for override in choices.typed_outside(*_GROUPS):
        raise UserError(f"{override} has no effect on a validation; it takes options of {', '.join(_GROUPS)}")
    _check_limits(config["validate"])
    check_accelerator(config)
    describe_model(config)  # whether it is there is for the validation to report


def _check_limits(limits: Mapping[str, Any]) -> None:
    for name, lowest in (("long_minutes", "0 (no long clip) or more"), ("memory_gb", "above 0")):
        value = limits[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not (value >= 0 if name == "long_minutes" else value > 0):
            raise UserError(f"validate.{name} is {value!r}, expected a number, {lowest}")
