"""Results of several folders or machines in one root, each once."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..cli.job_state import is_locked
from ..cli.run_record import FOUND, RESULT, RUNNING
from ..errors import UserError
from ..files import file_digest, locked, read_json, remove_leftovers, temporary_name
from ..lenient import reason
from ..results.finished import Finished, Index, RunId
from ..results.result import read_result
from ..safe_text import lines


def collect(sources: Sequence[Path], root: Path) -> int:
    """Copy every finished run below ``sources`` that ``root`` does not have into ROOT/runs; prints what it did.

    A source is a root, a folder of sweeps, a sweep or a run. A run is known by its identity: one that is there is
    not copied again, and one that is there with other scores is named and left alone. Returns 1 where a folder could
    not be collected; the others are.
    """
    runs = Path(root) / "runs"
    with locked(runs / ".collect.lock", "another process collects into this root; waiting for it"):
        into = _Root(runs)
        for source in sources:
            if not source.is_dir():
                into.trouble(f"{source}: there is no such folder")
                continue
            folders, notes = list(_holding(source, RESULT)), list(_holding(source, FOUND))
            if not folders and not notes:
                into.trouble(f"{source}: no {RESULT} in it or below, so no run that has finished")
            for folder in folders:
                into.add(folder, source)
        for source in sources:  # now that all are there which a job may have found
            for job in _holding(source, FOUND):
                into.add_found(job)
    failed = f", {into.troubles} not collected" if into.troubles else ""
    print(lines(f"{into.copied} runs copied into {runs}, {into.known} there already{failed}"))
    return int(into.troubles > 0)


class _Root:
    """The folder that is collected into: its finished runs by what they are, and what has been done so far."""

    def __init__(self, runs: Path):
        self.copied = self.known = self.troubles = 0
        self._runs, self._index = runs, Index(runs / ".finished")
        self._there: dict[str, Finished] = {}
        self._seen: set[Path] = set()  # resolved folders, of which each is looked at once
        for folder in _holding(runs, RESULT):
            with contextlib.suppress(UserError, OSError):
                self._note(Finished(folder, read_result(folder)))

    def trouble(self, sentence: str) -> None:
        """Say what could not be collected, and count it."""
        self.troubles += 1
        print(lines(sentence))

    def add(self, folder: Path, source: Path) -> None:
        """Copy the run in ``folder``, which lies below ``source``, unless it is there."""
        if folder.resolve() in self._seen:
            return
        self._seen.add(folder.resolve())
        try:
            self._add(Finished(folder, read_result(folder)), source)
        except (UserError, OSError) as error:  # shutil's error of many files is an OSError, too
            self.trouble(f"{folder}: not collected: {error if isinstance(error, UserError) else reason(error)}")

    def add_found(self, job: Path) -> None:
        """Copy the run that ``job`` of a sweep has found in place of computing it; it lies outside the sweep."""
        try:
            content = read_json(job / FOUND)
            folder, identity = Path(str(content["folder"])), str(content["identity"])
        except (UserError, KeyError, TypeError) as error:
            self.trouble(f"{job}: not collected: {FOUND} cannot be used: {error}")
            return
        if (folder / RESULT).is_file():
            self.add(folder, folder)
        elif not any(have.result.identity == identity for have in self._there.values()):
            self.trouble(f"{job}: its result is in {folder}, which is not here; collect that folder, too")

    def _add(self, run: Finished, source: Path) -> None:
        if is_locked(run.folder / RUNNING):
            raise UserError("it is not complete yet, its process still writes into it; collect it again later")
        have = self._there.get(_key(run))
        if have is None:
            self._note(Finished(self._copy(run, source), run.result))
            self.copied += 1
        elif (have.result.score, have.result.scores) == (run.result.score, run.result.scores):
            self.known += 1
        else:
            self.trouble(
                f"{run.folder} and {have.folder} are the same run with other scores "
                f"({_score(run)} and {_score(have)}); {have.folder} stays, the other one is not copied"
            )

    def _note(self, run: Finished) -> None:
        self._there.setdefault(_key(run), run)
        run_id = RunId.of(run.result)
        if run_id.identity and self._index.find(run_id) is None:
            self._index.add(run_id, run.folder)

    def _copy(self, run: Finished, source: Path) -> Path:
        """Copy a run's folder to its place, whole or not at all; returns the place."""
        place = self._runs / _place(run.folder, source)
        if place.exists():  # another run: numbered jobs of two machines' sweeps may have the same name
            place = place.with_name(f"{place.name}-{_key(run)[:8]}")
        if place.exists():
            raise UserError(f"{place} is there already, and is another run; move it away first")
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
        temporary = temporary_name(place)
        try:
            shutil.copytree(run.folder, temporary, ignore=shutil.ignore_patterns(f"{RUNNING}*", ".*.tmp"))
            os.rename(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place


def _holding(base: Path, name: str) -> Iterator[Path]:
    """The folders at or below ``base`` that hold a file ``name``, in order; not those that are being built."""
    for path in sorted(Path(base).rglob(name)):
        if not any(part.startswith(".") for part in path.parent.relative_to(base).parts):
            yield path.parent


def _key(run: Finished) -> str:
    """What tells runs apart; results of before there was an identity by all that they hold."""
    run_id = RunId.of(run.result)
    return run_id.key if run_id.identity else file_digest(run.folder / RESULT)


def _place(folder: Path, source: Path) -> Path:
    """Where a run belongs below runs/: as below the runs/ that it comes from, else below its source's name."""
    parts = folder.resolve().parts
    if "runs" in parts[:-1]:
        return Path(*parts[len(parts) - parts[::-1].index("runs") :])
    return Path(source.resolve().name) / folder.resolve().relative_to(source.resolve())


def _score(run: Finished) -> str:
    score = run.result.score
    return f"{run.result.primary_metric} {'undefined' if score is None else score}"
