"""Frozen dataclasses <-> JSON, checked field by field against their annotations.

JSON has no infinity: an infinite float is the string "inf" or "-inf" there. nan is never written; what is undefined
is null.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")

INFINITE = {"inf": math.inf, "-inf": -math.inf}
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


def defined(value: float) -> float | None:
    """A score as records hold it: None where it is undefined (nan)."""
    return None if math.isnan(value) else float(value)


def to_json(record: Any) -> dict[str, Any]:
    """A dataclass instance as plain JSON content, its infinite floats as "inf" and "-inf"."""
    content = dataclasses.asdict(record)
    return {name: _plain(value) for name, value in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def from_json(kind: type[Record], content: Any, where: str = "") -> Record:
    """The dataclass ``kind`` from JSON content; fields with a default may be missing.

    Raises ValueError, which says where and what was expected, for any other content.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where or 'the content'} is {_shown(content)}, expected a JSON object")
    hints = _hints(kind)
    prefix = f"{where}." if where else ""
    if unknown := sorted(content.keys() - hints.keys()):
        raise ValueError(f"{prefix}{_shown(unknown[0])} is not known here (a newer version of hear_exp may have it)")
    needed = [field.name for field in dataclasses.fields(kind) if _is_needed(field)]
    if lacking := [name for name in needed if name not in content]:
        raise ValueError(f"it lacks {', '.join(prefix + name for name in lacking)}")
    return kind(**{name: _value(hints[name], value, prefix + name) for name, value in content.items()})


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    """``value`` as an annotation wants it. Raises ValueError where it does not fit."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value, where)
    if origin is types.UnionType:  # only X | None occurs
        return None if value is None else _value(inner[0], value, where)
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_value(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        raise ValueError(f"{where} is {_shown(value)}, expected a list")
    if origin is not None:  # Mapping[str, X]
        if isinstance(value, dict):
            return {name: _value(inner[1], item, f"{where}.{name}") for name, item in value.items()}
        raise ValueError(f"{where} is {_shown(value)}, expected a JSON object")
    if hint is float and not isinstance(value, bool):
        if isinstance(value, str) and value in INFINITE:
            return INFINITE[value]
        if isinstance(value, int | float) and abs(value) < 1e300:
            return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)) and hint is not float:
        return value
    raise ValueError(f"{where} is {_shown(value)}, expected {_NAMES[hint]}")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
