"""Runs that have their result, found by what decides it, so that none is computed twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import json_digest, locked, read_json, write_json
from .result import Result, read_result

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class RunId:
    """What a run is: the ``identity`` of everything that decides its scores, and the names that its result bears."""

    identity: str
    model: str
    task: str
    predictor: str

    @classmethod
    def of(cls, result: Result) -> RunId:
        """The id of a run that has its result."""
        return cls(result.identity, result.model, result.task, result.predictor)

    @property
    def key(self) -> str:
        """The name of the run's file in an index: 16 hexadecimal digits."""
        return json_digest([self.identity, self.model, self.task, self.predictor])[:16]


@dataclass(frozen=True)
class Finished:
    """A run that is there: its folder, and its result."""

    folder: Path
    result: Result


class Index:
    """Where finished runs are: a folder with KEY.json, which names the run's folder, for each of them.

    A run that has been moved or removed, or whose result is another one by now, is not found any more.
    """

    def __init__(self, folder: Path):
        self._folder = Path(folder)

    def find(self, run: RunId) -> Finished | None:
        """The finished run ``run``, if it is there."""
        try:
            content: Mapping[str, str] = read_json(self._path(run))
            folder = Path(os.path.normpath(self._folder / content["folder"]))
            result = read_result(folder)
        except (UserError, OSError, KeyError, TypeError):
            return None
        return Finished(folder, result) if RunId.of(result) == run else None

    def add(self, run: RunId, folder: Path) -> None:
        """Note that the result of ``run`` is in ``folder``; relative to the index, so that both can be moved."""
        where = os.path.relpath(Path(folder).resolve(), self._folder.resolve())
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(run), {"folder": where, "identity": run.identity})

    @contextmanager
    def computing(self, run: RunId) -> Iterator[None]:
        """Hold ``run`` against other processes: who waits here for another one finds its result afterwards."""
        waiting = f"another process computes the same run ({run.model} on {run.task}); waiting for its result"
        with contextlib.ExitStack() as stack:
            # Where a file system has no locks, or is full, both compute it, as they would have without an index.
            with contextlib.suppress(OSError, NotImplementedError):
                stack.enter_context(locked(self._path(run).with_suffix(".lock"), waiting))
            yield

    def _path(self, run: RunId) -> Path:
        return self._folder / f"{run.key}.json"
