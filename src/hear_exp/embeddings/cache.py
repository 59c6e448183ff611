"""Embeddings on disk under a key: written clip by clip, resumable, whole only once the manifest is there.

An entry is a folder ``ROOT/TASK/MODEL-HASH`` with

    embeddings.f32   little-endian float32, (rows, dim), the rows of a clip together
    timestamps.f64   event tasks: each row's centre in milliseconds
    key.json         everything that decides the bytes; HASH is its digest
    versions.json    packages it was computed with that are not in the key
    manifest.json    written last: dim, per split each clip's first row and number of rows, checksums, doubts

While it is being computed the entry holds ``partial/`` (writer.py). A file whose bytes do not match their checksum
is computed again; each is verified once a process.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import json_digest, locked, read_json, remove_stale, write_json
from .manifest import EMBEDDINGS, MANIFEST, TIMESTAMPS, ClipId, ClipRows, Embeddings, file_names, read_manifest
from .writer import Writer, clear_way

__all__ = ["EMBEDDINGS", "TIMESTAMPS", "ClipId", "ClipRows", "Embeddings", "Entry", "Writer", "key_digest"]

log = logging.getLogger(__name__)

_KEY, _VERSIONS = "key.json", "versions.json"


def key_digest(key: Mapping[str, Any]) -> str:
    """Digest of a key: SHA-256 of its JSON with sorted names, 12 hexadecimal digits."""
    return json_digest(key)[:12]


class Entry:
    """One entry of the cache, whole or not. ``versions``: of packages that are not in the key."""

    def __init__(
        self, root: Path, task: str, model: str, key: Mapping[str, Any], versions: Mapping[str, str] | None = None
    ):
        self.key = json.loads(json.dumps(key))
        self.versions = dict(versions or {})
        self.digest = key_digest(key)
        self.folder = Path(root) / _plain(task) / f"{_plain(model)}-{self.digest}"

    def read(self) -> Embeddings | None:
        """The embeddings if the entry is whole and matches its checksums, else None."""
        path = self.folder / MANIFEST
        if not os.path.lexists(path):
            return None
        try:
            manifest = read_manifest(path, self.digest)
            for name in file_names(manifest.timestamps):
                if fault := manifest.fault(name, self.folder / name):
                    raise UserError(fault)
        except UserError as error:
            log.warning("damaged embedding cache: %s; computing it again", error)
            return None
        return manifest.embeddings(self.folder)

    def read_back(self) -> Embeddings:
        """The embeddings that were just written. Raises UserError where they are not what was written."""
        if (embeddings := self.read()) is None:
            raise UserError(
                f"the embeddings written to {self.folder} do not read back as they were written: is the disk failing, "
                "or does a process of another machine write there, on a file system without locks?"
            )
        return embeddings

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the entry against other processes; says so when it has to wait for one."""
        lock = self.folder.with_name(f".{self.folder.name}.lock")
        with locked(lock, f"another process is computing these embeddings; waiting for it ({self.folder})"):
            yield

    def writer(self, dim: int, timestamps: bool) -> Writer:
        """A writer that goes on where a killed run stopped. Call it inside ``locked()``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (EMBEDDINGS, TIMESTAMPS, _KEY, _VERSIONS, MANIFEST):
            clear_way(self.folder / name)
        remove_stale(self.folder)
        (self.folder / MANIFEST).unlink(missing_ok=True)  # of a damaged entry
        write_json(self.folder / _KEY, self.key)
        writer = Writer(self.folder, self.digest, dim, timestamps)
        if writer.done:
            self.tell_versions()
        else:
            write_json(self.folder / _VERSIONS, self.versions)
        return writer

    def tell_versions(self) -> None:
        """Say in a line of the log which packages had another version when the entry was computed."""
        try:
            then = read_json(self.folder / _VERSIONS)
        except UserError:
            return  # nothing depends on it
        changed = [
            f"{name} {then[name]} (now {now})"
            for name, now in self.versions.items()
            if isinstance(then, dict) and isinstance(then.get(name), str) and then[name] != now
        ]
        if changed:
            log.info(
                "the embeddings in %s were computed with %s; delete the folder to have them computed anew",
                *(self.folder, ", ".join(changed)),
            )


def _plain(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name)
