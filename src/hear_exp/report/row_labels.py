"""What the rows of a comparison are called, so that no two look alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..safe_text import one_line
from .figures import changes
from .runs import Row


def model_labels(rows: Sequence[Row]) -> list[str]:
    """Each row's model; of one name with several embeddings, with the options or weights that differ.

    Where none do (its code or the audio has changed), the embeddings' key tells them apart.
    """
    labels = [_model_label(row, [other for other in rows if other.result.model == row.result.model]) for row in rows]
    keys: dict[str, set[str]] = {}
    for label, row in zip(labels, rows, strict=True):
        keys.setdefault(label, set()).add(row.result.embedding_id)
    return [
        label if len(keys[label]) == 1 else f"{label} [{one_line(row.result.embedding_id)}]"
        for label, row in zip(labels, rows, strict=True)
    ]


def _model_label(row: Row, namesakes: Sequence[Row]) -> str:
    options = [other.result.model_options for other in namesakes]
    names = dict.fromkeys(name for one in options for name in one)
    differing = [name for name in names if len({json.dumps(one.get(name)) for one in options}) > 1]
    own = [f"{name} {_value(row.result.model_options.get(name))}" for name in differing]
    return one_line(row.result.model + (f" ({', '.join(own)})" if own else ""))


def _value(value: Any) -> str:
    return "default" if value in (None, "") else str(value)


def protocol_labels(rows: Sequence[Row]) -> list[str]:
    """Each row's protocol, with a star where fields of it were changed; which ones, where changes differ."""
    labels = []
    for row in rows:
        result = row.result
        others = [other.result.protocol_changes for other in rows if other.result.protocol == result.protocol]
        several = len({json.dumps(dict(other), sort_keys=True) for other in others if other}) > 1
        which = f" ({changes(result.protocol_changes)})" if several else ""
        labels.append(one_line(result.protocol + (f"*{which}" if result.protocol_changes else "")))
    return labels


def note(row: Row) -> str:
    """How a row comes from its runs: '3 seeds, best of 2 settings by validation'."""
    parts = [f"{len(row.runs)} seeds"] if len(row.runs) > 1 else []
    parts += [f"best of {row.settings} settings by validation"] if row.settings > 1 else []
    return ", ".join(parts)
