"""Finished fits of a search on disk, until the run has its result: a search that is killed goes on where it was.

A store is a folder ``ROOT/IDENTITY`` with

    identity.json   everything that decides the scores; IDENTITY is its digest
    NAME.fit        a finished fit: the SHA-256 of the rest (64 hexadecimal digits), then an .npz with the weights,
                    the test probabilities, and the other fields as JSON

NAME holds the digest of the fit's job. Each file is there whole or not at all; processes that run the same search at
once write the same files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import json_digest, read_json, replacing, write_json
from ..scoring.decode import Postprocessing
from ..scoring.event import Event
from .identity import Identity, differences
from .outcome import FitJob, FitOutcome, TestOutcome, Validation
from .predictor import class_name

log = logging.getLogger(__name__)

STALE_DAYS = 30  # after that nobody goes on with a search
_PLAIN = ("validation_score", "epoch", "epochs_run", "stopped_by", "seconds", "validation_loss", "monitor")


class FitStore:
    """The finished fits of one search. Failing to write costs no run: it is said once, and nothing more is kept."""

    def __init__(self, root: Path, identity: Identity):
        self.identity = identity
        self.folder = Path(root) / identity.digest
        self._writes = True

    def open(self) -> FitStore:
        """Remove what nobody went on with, and make the folder; returns the store."""
        collect_stale(self.folder.parent)
        path = self.folder / "identity.json"
        if path.exists() and (found := self._differences(path)):
            log.warning("%s is not this run's (%s); its fits are done again", path, "; ".join(found))
            self.discard()
        self._write(lambda: write_json(path, self.identity.settings))
        return self

    def read(self, job: FitJob) -> FitOutcome | None:
        """The outcome of ``job`` if it is kept here whole, else None."""
        path = self._path(job)
        try:
            return decode_fit(path.read_bytes(), job)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("damaged fit: %s (%s); it is done again", path, error)
            return None

    def keep(self, outcome: FitOutcome) -> None:
        """Keep a fit that has ended."""

        def write() -> None:
            with replacing(self._path(outcome.job), "wb") as file:
                file.write(encode_fit(outcome))

        self._write(write)

    def discard(self) -> None:
        """Remove the store: the run has its result."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, write: Callable[[], object]) -> None:
        if not self._writes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # each time: the same run elsewhere may have ended
            write()
        except OSError as error:
            self._writes = False
            log.warning(
                "finished fits cannot be kept in %s (%s); should this search be killed, it begins anew",
                self.folder,
                error.strerror or error,
            )

    def _differences(self, path: Path) -> list[str]:
        try:
            found = read_json(path)
            return differences(self.identity.settings, found if isinstance(found, dict) else {})
        except UserError as error:
            return [str(error)]

    def _path(self, job: FitJob) -> Path:
        predictor = [class_name(type(job.predictor)), job.hyperparameters]
        digest = json_digest([job.point, predictor, job.fold_index, dataclasses.asdict(job.fold), job.test])[:12]
        return self.folder / f"fold{job.fold_index:02d}-point{job.point:03d}-{digest}.fit"


def collect_stale(root: Path, days: float = STALE_DAYS) -> int:
    """Remove the stores under ``root`` that nothing was added to for ``days``; returns how many."""
    old = [
        path.parent
        for path in Path(root).glob("*/identity.json")
        if time.time() - path.parent.stat().st_mtime > days * 24 * 3600
    ]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    if old:
        log.info("removed fits of unfinished searches, untouched for %d days: %d folders in %s", days, len(old), root)
    return len(old)


def encode_fit(outcome: FitOutcome) -> bytes:
    """A fit as the bytes of its file."""
    tested = outcome.tested
    record: dict[str, Any] = {name: getattr(outcome, name) for name in _PLAIN}
    record["postprocessing"] = outcome.postprocessing and dataclasses.asdict(outcome.postprocessing)
    record["curve"] = [dataclasses.asdict(validation) for validation in outcome.curve]
    arrays = {f"weights/{name}": array for name, array in outcome.weights.items()}
    if tested is not None:
        arrays["probabilities"] = tested.probabilities
        record["tested"] = {
            "split": tested.split,
            "scores": dict(tested.scores),
            "undefined": dict(tested.undefined),
            "events": {clip: [dataclasses.astuple(e) for e in events] for clip, events in tested.events.items()},
        }
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)  # its NaN are read back as NaN
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # NumPy reads the keywords as its own options
    content = buffer.getvalue()
    return hashlib.sha256(content).hexdigest().encode() + content


def decode_fit(content: bytes, job: FitJob) -> FitOutcome:
    """The fit of ``job`` from the bytes of its file. Raises ValueError for bytes that are not what was written."""
    digest, content = content[:64], content[64:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError("its checksum differs")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        record = json.loads(arrays["record"].tobytes())
        weights = {n.removeprefix("weights/"): arrays[n] for n in arrays.files if n.startswith("weights/")}
        tested = None
        if job.test:
            found = record["tested"]
            events = {clip: tuple(Event(*event) for event in events) for clip, events in found.pop("events").items()}
            tested = TestOutcome(probabilities=arrays["probabilities"], events=events, **found)
    return FitOutcome(
        job=job,
        postprocessing=_postprocessing(record["postprocessing"]),
        curve=tuple(
            Validation(**{**values, "postprocessing": _postprocessing(values["postprocessing"])})
            for values in record["curve"]
        ),
        weights=weights,
        tested=tested,
        **{name: record[name] for name in _PLAIN},
    )


def _postprocessing(values: dict[str, float] | None) -> Postprocessing | None:
    return None if values is None else Postprocessing(**values)
