"""What a launcher of ours can do beyond Hydra's interface: launch jobs whose numbers leave gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from hydra.core.utils import JobReturn


@dataclass(frozen=True)
class NumberedJob:
    """A job of a sweep: its number, its overrides, its folder."""

    number: int
    overrides: tuple[str, ...]
    folder: Path


@runtime_checkable
class NumberedLauncher(Protocol):
    """A launcher that takes any jobs of a sweep, in one go."""

    def launch_numbered(self, jobs: Sequence[NumberedJob]) -> Sequence[JobReturn]:
        """Run the jobs and wait for them: one return a job, in their order, also for those that died."""
