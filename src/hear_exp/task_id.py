"""What makes two tasks the same one: name, version, mode and content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .task import Task


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


def joined(names: Iterable[str]) -> str:
    """Names of a task's parts with a plus between; empty where one is lacking."""
    known = list(names)
    return "+".join(known) if all(known) else ""
