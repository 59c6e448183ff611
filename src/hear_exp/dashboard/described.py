"""A workspace or report as JSON, in the words of the package's documentation: {"type": "LinePlot", "x": ...}."""

from __future__ import annotations

import dataclasses
from typing import Any


def described(value: Any) -> Any:
    """``value`` with each object as its type's name and its fields, those left out that say nothing."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        found = {name: described(getattr(value, name, None)) for name in names}
        return {"type": type(value).__name__, **{name: text for name, text in found.items() if _says(text)}}
    if isinstance(value, dict):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    return value


def _says(value: Any) -> bool:
    if isinstance(value, list) and all(item is None for item in value):  # also a range without ends
        return False
    return value is not None and value not in ("", {})
