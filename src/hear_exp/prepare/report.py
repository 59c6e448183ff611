"""What a prepared task holds: clips, hours and labels of each split, for the terminal and for report.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

MOST_LABELS = 20  # in the terminal; report.json has all


@dataclass(frozen=True)
class SplitReport:
    """One split. ``labels`` counts the clips (of an event task: the events) of each label; ``groups``: None without."""

    clips: int
    hours: float
    groups: int | None
    labels: Mapping[str, int]
    missing: tuple[str, ...]  # labels of the task that the split has not


def split_reports(
    names: Sequence[str],
    split_of_clip: Sequence[str],
    seconds: Sequence[float],
    labels: Sequence[Sequence[str]],
    groups: Sequence[str] | None,
) -> dict[str, SplitReport]:
    """A report for each of the splits ``names``; the other arguments have an entry a clip."""
    vocabulary = {label for of_clip in labels for label in of_clip}
    reports = {}
    for name in names:
        inside = [i for i, split in enumerate(split_of_clip) if split == name]
        counts = Counter(label for i in inside for label in labels[i])
        reports[name] = SplitReport(
            clips=len(inside),
            hours=round(sum(seconds[i] for i in inside) / 3600, 6),
            groups=None if groups is None else len({groups[i] for i in inside}),
            labels=dict(sorted(counts.items())),
            missing=tuple(sorted(vocabulary - set(counts))),
        )
    return reports


def rare_labels(labels: Sequence[Sequence[str]], groups: Sequence[str], splits: int) -> list[str]:
    """Labels that lie in fewer groups than there are splits, so that no drawing can put them into all."""
    groups_of: dict[str, set[str]] = {}
    for of_clip, group in zip(labels, groups, strict=True):
        for label in of_clip:
            groups_of.setdefault(label, set()).add(group)
    return sorted(label for label, found in groups_of.items() if len(found) < splits)


def show_report(report: Mapping[str, Any], splits: Mapping[str, SplitReport], unit: str, console: Console) -> None:
    """Print the splits, and how often each label comes in each of them (``unit``: clips or events)."""
    grouped = any(split.groups is not None for split in splits.values())
    rates = ", ".join(map(str, report["sample_rates"]))
    length = "clips of any length" if report["sample_duration"] is None else f"clips of {report['sample_duration']:g} s"
    title = f"{report['task_name']}: {report['embedding_type']}, {report['prediction_type']}, {length}, {rates} Hz"
    table = _table("split", "clips", "audio", *(["groups"] if grouped else []), "labels", "labels missing")
    total = len({label for split in splits.values() for label in split.labels})
    for name, split in splits.items():
        groups = [str(split.groups)] if grouped else []
        present = f"{len(split.labels)} of {total}"
        table.add_row(name, str(split.clips), duration(split.hours), *groups, present, _few(split.missing))
    console.print()
    console.print(Text(f" {title}", style="bold"), soft_wrap=True)
    console.print(table)

    sums = Counter[str]()
    for split in splits.values():
        sums.update(split.labels)
    labels = _table("label", *splits, "all")
    for label, count in sums.most_common(MOST_LABELS):
        labels.add_row(Text(label), *(str(split.labels.get(label, 0)) for split in splits.values()), str(count))
    console.print(Text(f" {unit} of each label", style="bold"))
    console.print(labels)
    if len(sums) > MOST_LABELS:
        console.print(Text(f" and {len(sums) - MOST_LABELS} rarer labels; report.json has all", style="dim"))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        words = i == 0 or column == "labels missing"
        table.add_column(Text(column), justify="left" if words else "right", overflow="fold")
    return table


def duration(hours: float) -> str:
    """Hours for people: seconds and minutes where there are few."""
    if hours < 1 / 60:
        return f"{hours * 3600:.1f} s"
    return f"{hours * 60:.1f} min" if hours < 1 else f"{hours:.2f} h"


def _few(labels: Sequence[str]) -> Text:
    more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
    return Text(", ".join(labels[:6]) + more or "none", style="yellow" if labels else "dim")
