"""The options of ``python -m hear_exp.prepare``, checked before any file is read."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..scoring.scores import SCORES, score_kind

_LONGEST_S = 24 * 3600
PATTERN_NAMES = ("label", "group", "split", "fold")
DEFAULT_SCORES = {
    ("scene", "multiclass"): ("top1_acc", "mAP", "d_prime", "aucroc"),
    ("scene", "multilabel"): ("mAP", "d_prime", "aucroc"),
    ("event", "multilabel"): ("event_onset_200ms_fms", "segment_1s_er"),
}
_ONLY_WITH_TABLE = (
    *("audio_root", "extension", "path_column", "label_column", "label_separator", "split_column", "default_split"),
    *("group_column", "start_column", "end_column"),
)
_CHOICES = {
    "kind": ("auto", "scene", "event"),
    "prediction_type": ("auto", "multiclass", "multilabel"),
    "times": ("auto", "s", "ms"),
    "label_files": ("auto", True, False),
    "peaks": ("clip", "scale"),
    "on_error": ("stop", "skip"),
    "overwrite": (True, False),
}


_TEXTS = (  # may hold what Hydra reads as its own: ( ) { } = , : and blanks
    *("out", "name", "version", "table", "folder", "audio_root", "pattern", "extension"),
    *("path_column", "label_column", "label_separator", "split_column", "default_split", "group_column"),
    *("start_column", "end_column"),
)


@dataclass(frozen=True)
class Options:
    """What a person may choose; conf/prepare.yaml says what each does. Empty strings and tuples: not given.

    ``length`` is auto, keep, max, or seconds; the columns are auto, a name, or (but for path and label) empty.
    """

    out: str = ""
    name: str = ""
    version: str = "1"
    table: tuple[str, ...] = ()
    folder: str = ""
    audio_root: tuple[str, ...] = ()
    pattern: str = ""
    extension: str = ""
    path_column: str = "auto"
    label_column: str = "auto"
    label_separator: str = ""
    split_column: str = "auto"
    default_split: str = ""
    group_column: str = "auto"
    start_column: str = "auto"
    end_column: str = "auto"
    times: str = "auto"
    label_files: str | bool = "auto"
    kind: str = "auto"
    prediction_type: str = "auto"
    evaluation: tuple[str, ...] = ()
    length: str | float = "auto"
    rates: tuple[int, ...] = ()
    peaks: str = "clip"
    folds: int | None = None
    fractions: tuple[float, ...] = (0.7, 0.15, 0.15)
    seed: int = 42
    on_error: str = "stop"
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Raises UserError for values that are none, and for options that could not take effect."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} is {getattr(self, name)!r}, expected one of: {', '.join(map(str, allowed))}")
        if bool(self.table) == bool(self.folder):
            came = "both came" if self.table else "neither came"
            raise UserError(
                f"give table=FILE.csv (columns path,label) or folder=DIR (one folder a class); {came}. "
                "python -m hear_exp.prepare --help lists all options"
            )
        if not self.out:
            raise UserError("give the folder to write the task to: out=FOLDER")
        if self.folder and (idle := [name for name in _ONLY_WITH_TABLE if self.changed(name)]):
            raise UserError(f"{', '.join(idle)}: no effect with folder=DIR, only with table=FILE.csv")
        if self.table and self.changed("label_files"):
            raise UserError("label_files: no effect with table=FILE.csv, only with folder=DIR")
        if len(self.audio_root) not in (0, 1, len(self.table)):
            raise UserError(
                f"audio_root names {len(self.audio_root)} folders for {len(self.table)} tables, "
                "expected one for all or one for each"
            )
        self._check_numbers()
        self._check_pattern()
        self._check_scores()

    def changed(self, name: str) -> bool:
        """Whether an option differs from its default."""
        return bool(getattr(self, name) != getattr(type(self), name))

    def _check_numbers(self) -> None:
        if self.length not in ("auto", "keep", "max") and not (
            _is_number(self.length) and 0 < float(self.length) <= _LONGEST_S
        ):
            raise UserError(
                f"length is {self.length!r}, expected seconds above 0, or auto, max or keep (at most a day)"
            )
        if self.folds is not None and (
            not isinstance(self.folds, int) or isinstance(self.folds, bool) or self.folds < 3
        ):
            raise UserError(f"folds is {self.folds!r}, expected a whole number from 3 up (train, valid and test)")
        fractions = self.fractions
        if len(fractions) != 3 or not all(_is_number(f) and f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
            raise UserError(
                f"fractions is {list(fractions)}, expected those of train, valid and test, above 0 and 1 in all"
            )
        if self.folds is not None and self.changed("fractions"):
            raise UserError("fractions: no effect with folds, which are of equal size")
        for rate in self.rates:
            if not isinstance(rate, int) or isinstance(rate, bool) or not 100 <= rate <= 768000:
                raise UserError(f"rates holds {rate!r}, expected sample rates in hertz, such as [16000,48000]")
        if len(set(self.rates)) < len(self.rates):
            raise UserError(f"rates names one twice: {list(self.rates)}")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise UserError(f"seed is {self.seed!r}, expected a whole number from 0 up")

    def _check_pattern(self) -> None:
        try:
            names = re.compile(self.pattern).groupindex
        except re.error as error:
            raise UserError(f"pattern {self.pattern!r} is not a regular expression: {error}") from error
        if (self.pattern and not names) or set(names) - set(PATTERN_NAMES):
            raise UserError(
                f"pattern {self.pattern!r} names {', '.join(names) or 'nothing'}; expected named parts, such as "
                f"(?P<label>[a-z]+), called: {', '.join(PATTERN_NAMES)}"
            )
        if self.label_files is True and "label" in names:
            raise UserError("label_files=true: the pattern names the label too; leave one of them out")
        if {"split", "fold"} <= set(names):
            raise UserError(f"pattern {self.pattern!r} names both split and fold, expected one of them")
        twice = [column for column, name in (("label_column", "label"), ("group_column", "group")) if name in names]
        twice += ["split_column"] if {"split", "fold"} & set(names) else []
        if idle := [column for column in twice if self.changed(column)]:
            raise UserError(f"{', '.join(idle)}: no effect, the pattern names that part")

    def _check_scores(self) -> None:
        for name in self.evaluation:
            if name not in SCORES:
                raise UserError(f"evaluation: unknown score {name!r}, expected some of: {', '.join(SCORES)}")
            if self.kind not in ("auto", score_kind(name)):
                raise UserError(f"evaluation: {name!r} is for {score_kind(name)} tasks, but kind is {self.kind}")
        if twice := [name for name, count in Counter(self.evaluation).items() if count > 1]:
            raise UserError(f"evaluation names {twice[0]} twice")


def options_from_config(config: Mapping[str, Any]) -> Options:
    """The options in a composed config: null is what is not given, a single value is a list of one."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Options):
        value = config[field.name]
        if field.name in ("table", "audio_root", "evaluation", "rates", "fractions"):
            single = value is None or not isinstance(value, list)
            value = () if value in (None, "auto") else (value,) if single else tuple(value)
            if field.name in ("table", "audio_root", "evaluation"):
                value = tuple(map(str, value))
        elif field.name == "length" and not isinstance(value, str):
            value = value if _is_number(value) else str(value)
        elif isinstance(field.default, str) and field.name != "length" and not isinstance(value, bool):
            value = "" if value is None else str(value)
        values[field.name] = value
    if not values["name"] and values["out"]:
        values["name"] = Path(values["out"]).resolve().name
    return Options(**values)


def hydra_arguments(arguments: Sequence[str]) -> list[str]:
    """Arguments with texts in Hydra's quotes, so that patterns and paths need only the shell's.

    Raises UserError for an option that there is not.
    """
    names = [field.name for field in dataclasses.fields(Options)]
    result = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and re.fullmatch(r"[a-z_]+", name) and name not in (*names, "paths", "hydra"):
            close = difflib.get_close_matches(name, names, n=1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown option: {name}{hint}; python -m hear_exp.prepare --help lists all")
        a_list = name in ("table", "audio_root") and value.startswith("[")
        if equals and name in _TEXTS and value not in ("", "null") and value[0] not in "'\"" and not a_list:
            escaped = re.sub(r"(\\*)'", r"\1\1\'", value)  # Hydra's rule: backslashes count before a quote only
            backslashes = len(escaped) - len(escaped.rstrip("\\"))
            argument = f"{name}='{escaped}{chr(92) * backslashes}'"
        result.append(argument)
    return result


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
