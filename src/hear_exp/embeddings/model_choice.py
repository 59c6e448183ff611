"""What the config says of a model, and whether such a model can be there; nothing of it is imported."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, shown
from ..files import check_readable


@dataclass(frozen=True)
class Model:
    """What the config says of a model: a HEAR API ``module``, its weights file and keyword options.

    ``install`` is the command that installs the module, ``weights_url`` where its weights are; both only for errors.
    """

    name: str
    module: str
    weights: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    install: str = ""
    weights_url: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What tells two models of one name apart."""
        return {"module": self.module, "weights": self.weights, **self.options}


def describe_model(model: Mapping[str, Any]) -> Model:
    """What the config group ``model`` says, not loaded yet. Raises UserError for options that are no names and values.

    Other entries of the group, such as its place on the leaderboard, are for people to read.
    """
    options = model.get("options")
    if not isinstance(options, Mapping | None):
        raise UserError(f"model.options is {shown(options)}, expected names and values: {{name: value}}")
    return Model(
        name=str(model.get("name") or "hear"),
        module=str(model.get("module") or ""),
        weights=str(model.get("weights") or ""),
        options=dict(options or {}),
        install=str(model.get("install") or ""),
        weights_url=str(model.get("weights_url") or ""),
    )


def check_model(model: Model) -> None:
    """Raises UserError for a model without a module, whose weights file is missing, or that is not installed."""
    if not model.module:
        raise UserError(f"model {model.name}: no module given (model.module=PACKAGE, an installed HEAR API module)")
    if model.weights and not Path(model.weights).is_dir():
        if not Path(model.weights).exists():
            raise UserError(f"model {model.name}: weights file not found: {model.weights}")
        check_readable(Path(model.weights), limit=sys.maxsize)  # a pipe would be waited for without end
    # Looking for a submodule imports the package it is in, and so, but for our own, whatever that needs.
    package, _, _ = model.module.partition(".")
    try:
        found = importlib.util.find_spec(model.module if package == "hear_exp" else package)
    except (ImportError, ValueError):  # ValueError: an empty part, as in '.module'
        found = None
    if found is None:
        raise UserError(not_installed(model))


def not_installed(model: Model) -> str:
    """The sentence for a model whose module is not there, with the command that installs it."""
    install = f"; install it with: {model.install}" if model.install else ""
    weights = f" (its weights, for model.weights=FILE: {model.weights_url})" if model.weights_url else ""
    return f"model {model.name}: module {model.module} is not installed in this Python environment{install}{weights}"
