"""Embeddings that heareval computed: its folder, read without trusting it, becomes a task and a cache entry.

heareval writes OUT/MODEL/TASK with the task's own task_metadata.json, labelvocabulary.csv and SPLIT.json, and

    SPLIT.embeddings.npy              float32 without a header, (rows, dim)
    SPLIT.embedding-dimensions.json   [rows, dim]
    SPLIT.target-labels.pkl           a pickled list: the labels of each row
    SPLIT.filename-timestamps.json    event tasks: [path of the clip, milliseconds] of each row
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import logging
import pickle
import pickletools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..errors import UserError, shown
from ..files import check_readable, file_digest, read_json
from ..tasks.folder import Clip, Split, Task, read_task
from ..tasks.metadata import is_number
from ..tasks.targets import frame_targets
from .cache import Entry
from .embed import Embedded, clip_order

log = logging.getLogger(__name__)

COPY_BYTES = 64 << 20
MOST_BYTES = 1 << 50  # of embeddings: they are mapped, not read


def read_embedded_task(folder: Path) -> Task:
    """The task of a folder that heareval wrote, the clips of each split in the order of its rows.

    The rows of a scene task bear no names. heareval shuffles the clips with a fixed seed, so the same shuffle
    finds them, and the labels show whether it did; where it did not, clips are named after their row.

    Raises UserError for a folder that is not whole, for labels that are anything but lists of strings and whole
    numbers (nothing in the file is executed), and, naming the row, where they contradict SPLIT.json.
    """
    folder = Path(folder)
    task = read_task(folder, needs_audio=False)
    splits = []
    for name, clips in clip_order(task):
        path = folder / f"{name}.target-labels.pkl"
        labels = read_labels(path)
        rows = _dimensions(folder, name)[0]
        if len(labels) != rows:
            raise UserError(f"{path}: labels of {len(labels)} rows, but there are embeddings of {rows}")
        if task.embedding_type == "event":
            clips = _clips_of_frames(task, name, clips, labels)
        else:
            clips = _clips_of_rows(path, name, clips, labels)
        splits.append(Split(name, clips))
    return dataclasses.replace(task, splits=tuple(splits))


def import_embeddings(task: Task, model: str, root: Path) -> Embedded:
    """Copy the embeddings of ``task``, as read by read_embedded_task, into the cache under ``root``.

    The rows keep their order, so that batches of consecutive rows are heareval's batches. The key is the content.

    Raises UserError, naming the row, for NaN or infinite embeddings.
    """
    started = time.perf_counter()
    event = task.embedding_type == "event"
    frames = {split.name: _frames(task, split) for split in task.splits}
    key = {
        "source": "heareval",
        "kind": task.embedding_type,
        "embeddings": {name: file_digest(task.folder / f"{name}.embeddings.npy") for name in frames},
        "frames": hashlib.sha256(
            json.dumps([(split, clip, times.tolist()) for split in frames for clip, times in frames[split]]).encode()
        ).hexdigest(),
    }
    entry = Entry(root, task.name, model, key)
    copied = 0
    if (embeddings := entry.read()) is None:
        with entry.locked():
            if (embeddings := entry.read()) is None:
                dim = _dimensions(task.folder, task.splits[0].name)[1]
                writer = entry.writer(dim, timestamps=event)
                try:
                    for split, clips in frames.items():
                        for names, rows, times in _chunks(task, split, clips, dim):
                            if (split, names[0]) not in writer.done:
                                writer.append(split, names, rows, times if event else None)
                                copied += len(names)
                    writer.finish([(split, clip) for split, clips in frames.items() for clip, _ in clips])
                finally:
                    writer.close()
                embeddings = entry.read_back()
    return Embedded(embeddings, time.perf_counter() - started, copied)


MOST_INTEGER = 10**18  # of a label that is a number
HINT = "heareval writes one for each split"


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every class and function, so that unpickling can build plain values and call nothing."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it asks for an object stored elsewhere")


def read_labels(path: Path) -> list[list[str]]:
    """The labels of each row in a file of pickled lists of strings and whole numbers, as strings.

    Rows that are one list in the file are one list here, so that a small file takes little memory.

    Raises UserError for a file that holds anything else; nothing in it is executed.
    """
    check_readable(path, HINT)
    try:
        data = path.read_bytes()
        _check_memo(data)
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a crafted or torn file raises whatever it likes
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not a pickle of plain lists of labels, and therefore not read ({reason})") from error
    if type(content) is not list:
        raise UserError(f"{path}: expected a list with the labels of each row, got a {type(content).__name__}")
    rows: dict[int, list[str]] = {}
    for row, labels in enumerate(content):
        if id(labels) in rows:
            continue
        if type(labels) is not list or not all(map(_is_label, labels)):
            raise UserError(f"{path}: row {row}: expected a list of strings or whole numbers, got {shown(labels)}")
        rows[id(labels)] = [str(label) for label in labels]
    return [rows[id(labels)] for labels in content]


def _check_memo(data: bytes) -> None:
    """Raise UnpicklingError for a pickle that names a place in its memo which it cannot have filled so far.

    The memo is an array, and nine bytes that write to its two thousand millionth place take 8.5 GB.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument is not None and argument > count:
            raise pickle.UnpicklingError(f"it writes to place {argument} of its memo after {count} steps")


def _is_label(value: Any) -> bool:
    return type(value) is str or (type(value) is int and abs(value) <= MOST_INTEGER)


def _label_sets(labels: list[list[str]]) -> list[frozenset[str]]:
    """The set of each row's labels, once for rows that are one list."""
    lists = {id(row): row for row in labels}
    sets = {key: frozenset(row) for key, row in lists.items()}
    return [sets[id(row)] for row in labels]


def _dimensions(folder: Path, split: str) -> tuple[int, int]:
    """(rows, dim) of a split's embeddings, checked against the size of their file."""
    path, data = folder / f"{split}.embedding-dimensions.json", folder / f"{split}.embeddings.npy"
    shape = read_json(path, HINT)
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n < 2**40 for n in shape):
        raise UserError(f"{path}: expected [rows, dim], got {shown(shape)}")
    check_readable(data, HINT, limit=MOST_BYTES)
    expected, size = shape[0] * shape[1] * 4, data.stat().st_size
    if size != expected:
        raise UserError(f"{data}: {size} bytes, expected {expected}: {shape[0]} rows of {shape[1]} float32 numbers")
    return shape[0], shape[1]


def _clips_of_rows(path: Path, split: str, clips: Sequence[Clip], labels: list[list[str]]) -> tuple[Clip, ...]:
    """A scene split's clips in row order."""
    if len(labels) != len(clips):
        raise UserError(f"{path}: {len(labels)} rows, but {split}.json has {len(clips)} clips")
    given = _label_sets(labels)
    known = [frozenset(clip.labels) for clip in clips]
    if given == known:
        return tuple(clips)
    if Counter(given) == Counter(known):
        log.warning("%s: the rows are not in heareval's order, so clips are named after their row", path)
        return tuple(Clip(f"row_{i:06d}", labels=tuple(row)) for i, row in enumerate(labels))
    row = next(i for i in range(len(clips)) if given[i] != known[i])
    raise UserError(
        f"{path}: row {row} has the labels {shown(labels[row])}, but the clip there, {clips[row].name}, "
        f"has {shown(list(clips[row].labels))} in {split}.json: the folder's files do not belong together"
    )


def _clips_of_frames(task: Task, split: str, clips: Sequence[Clip], labels: list[list[str]]) -> tuple[Clip, ...]:
    """An event split's clips in row order; the frames' labels are those of the clips' events."""
    path = task.folder / f"{split}.target-labels.pkl"
    by_name = {clip.name: clip for clip in clips}
    frames = _frames_in_file(task.folder / f"{split}.filename-timestamps.json")
    if {name for name, _ in frames} != by_name.keys():
        odd = sorted({name for name, _ in frames} ^ by_name.keys())
        raise UserError(
            f"{task.folder}: clips in only one of {split}.json and {split}.filename-timestamps.json: {odd[:3]}"
        )
    if sum(len(times) for _, times in frames) != len(labels):
        raise UserError(
            f"{path}: labels of {len(labels)} rows, but {split}.filename-timestamps.json has another number"
        )
    given, row = _label_sets(labels), 0
    for name, times in frames:
        for target, at_ms in zip(frame_targets(by_name[name].events, times, task.labels), times, strict=True):
            expected = {task.labels[i] for i in np.flatnonzero(target)}
            if given[row] != expected:
                raise UserError(
                    f"{path}: row {row} ({name} at {at_ms:g} ms) has the labels {shown(sorted(given[row]))}, but the "
                    f"events of {split}.json give {shown(sorted(expected))}: the folder's files do not belong together"
                )
            row += 1
    return tuple(by_name[name] for name, _ in frames)


def _frames(task: Task, split: Split) -> list[tuple[str, np.ndarray]]:
    """Each clip's name and the centres of its rows in milliseconds; a scene's one row has none, and is given 0."""
    if task.embedding_type == "event":
        return _frames_in_file(task.folder / f"{split.name}.filename-timestamps.json")
    return [(clip.name, np.zeros(1)) for clip in split.clips]


def _frames_in_file(path: Path) -> list[tuple[str, np.ndarray]]:
    """Clips and their timestamps in milliseconds, as filename-timestamps.json lists them."""
    content = read_json(path, HINT)
    if not isinstance(content, list):
        raise UserError(f"{path}: expected a list of [file, milliseconds]")
    for row, entry in enumerate(content):
        if not (isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is str and is_number(entry[1])):
            raise UserError(f"{path}: row {row}: expected [file, milliseconds], got {shown(entry)}")
    frames = [
        (Path(name).name, np.array([ms for _, ms in rows], dtype=np.float64))
        for name, rows in itertools.groupby(content, key=lambda entry: entry[0])
    ]
    names = Counter(name for name, _ in frames)
    for name, times in frames:
        if names[name] > 1 or not (np.diff(times) > 0).all():
            raise UserError(f"{path}: the rows of {name} are not together, or their times do not increase")
    return frames


def _chunks(
    task: Task, split: str, clips: list[tuple[str, np.ndarray]], dim: int
) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
    """Consecutive clips of one length: names, embeddings (clips, frames, dim), times (clips, frames)."""
    rows, width = _dimensions(task.folder, split)
    if width != dim:
        raise UserError(f"{task.folder}: embeddings of {dim} and, in {split}, of {width} dimensions")
    data = np.memmap(task.folder / f"{split}.embeddings.npy", dtype="<f4", mode="r", shape=(rows, dim))
    start = 0
    for frames, group in itertools.groupby(clips, key=lambda clip: len(clip[1])):
        together, step = list(group), max(1, COPY_BYTES // (frames * dim * 4))
        for part in (together[i : i + step] for i in range(0, len(together), step)):
            chunk = np.asarray(data[start : start + len(part) * frames])
            finite = np.isfinite(chunk).all(axis=1)
            if not finite.all():
                row = start + int(np.argmin(finite))
                raise UserError(f"{task.folder}: {split}: NaN or infinite embedding in row {row}")
            yield [name for name, _ in part], chunk.reshape(len(part), frames, dim), np.stack([t for _, t in part])
            start += len(part) * frames
