"""What makes two tasks the same one: name, version, mode and content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tasks.folder import Task


@dataclass(frozen=True, order=True)
class TaskId:
    """Runs may be compared, and grouped, where all four fields agree; ``digest`` is of the task's content."""

    name: str
    version: str = ""
    mode: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return "-".join(part for part in (self.name, self.version, self.mode, self.digest) if part)


def task_id(tasks: Sequence[Task], name: str = "") -> TaskId:
    """The id of a run's task; of several, which are parts of the task called ``name``, all of them count."""
    first = tasks[0]
    return TaskId(
        name=first.name if len(tasks) == 1 else name,
        version=first.version,
        mode=first.mode,
        digest=joined(task.digest for task in tasks),
    )


def task_labels(ids: Sequence[TaskId]) -> dict[TaskId, str]:
    """What tasks are called beside each other: name and mode, and where two would look alike, what tells them apart."""
    labels = {}
    for task in set(ids):
        alike = [other for other in set(ids) if (other.name, other.mode) == (task.name, task.mode)]
        further = [task.version] if len({other.version for other in alike}) > 1 else []
        same_version = [other for other in alike if other.version == task.version]
        further += [task.digest or "content unknown"] if len(same_version) > 1 else []
        details = [part for part in (task.mode, *further) if part]
        labels[task] = task.name + (f" ({', '.join(details)})" if details else "")
    return labels


def joined(names: Iterable[str]) -> str:
    """Names of a task's parts with a plus between; empty where one is lacking."""
    known = list(names)
    return "+".join(known) if all(known) else ""
