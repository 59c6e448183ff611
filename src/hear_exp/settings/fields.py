"""How options are checked: a group of them is a typed object, and what does not fit it is a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, WrapValidator

from ..errors import UserError, shown

_BY_NAME = "its options, by name"
_EXPECTED = {  # by pydantic's type of a fault; the options that take more than a type say themselves what they expect
    **dict.fromkeys(("model_type", "model_attributes_type", "dataclass_type"), _BY_NAME),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a text",
    "path_type": "a path (one that reads as a number goes as ./2024)",
    "tuple_type": "a list",
    **dict.fromkeys(("mapping_type", "dict_type"), "names and values"),
}


class Group(BaseModel):
    """A group of options. Names beyond its own are a person's, for interpolations in files of theirs."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)


Kind = TypeVar("Kind", bound=Group)


def read(kind: type[Kind], config: Mapping[str, Any]) -> Kind:
    """A composed config as ``kind``. Raises UserError: a sentence for each option that does not fit."""
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise UserError("; ".join(_sentence(fault, config) for fault in faults)) from error


def expected(words: str) -> WrapValidator:
    """Makes the sentence of a value that does not fit 'OPTION is VALUE, expected WORDS'."""

    def checked(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise ValueError(words) from error

    return WrapValidator(checked)


def one_of(choices: Any) -> WrapValidator:
    """``expected`` for a Literal of ``choices``."""
    return expected(f"one of: {', '.join(get_args(choices))}")


def made_by(function: Callable[[Mapping[str, Any]], Any]) -> PlainValidator:
    """For a group that ``function`` makes an object of, which raises UserError with a sentence of its own."""

    def made(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(_BY_NAME)
        return function(value)

    return PlainValidator(made)


or_none = BeforeValidator(lambda value: value or None)  # an empty text is as good as none
Count = Annotated[int, Field(strict=True, ge=1), expected("a number from 1 up")]


def _sentence(fault: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    kind, context, option = fault["type"], fault.get("ctx", {}), _dotted(fault["loc"], config)
    words = _EXPECTED.get(kind, fault["msg"])
    if kind == "value_error":
        if isinstance(context["error"], UserError):
            return str(context["error"])
        words = str(context["error"])
    elif kind == "missing":
        return f"{option} is missing, and a run needs it (python -m hear_exp --cfg job shows all options)"
    elif kind == "union_tag_not_found":
        return f"{option}.name is missing, which says what kind it is"
    elif kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "")
        return f"{option}.name is {context['tag']!r}, expected one of: {tags}"
    return f"{option} is {shown(fault['input'])}, expected {words}"


def _dotted(location: Sequence[int | str], config: Any) -> str:
    """Name of the option at ``location``, in which pydantic also names the kind that it took a group for."""
    names, here = list[str](), config
    for i, step in enumerate(location):
        there = isinstance(here, Mapping) and step in here
        if there or i == len(location) - 1:
            names.append(str(step))
        if there:
            here = here[step]
    return ".".join(names)
