"""Read, check and resample clips, and group clips of equal length."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr

from ..errors import UserError
from ..files import check_readable
from .folder import Clip, Task

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

RESAMPLER = "soxr HQ"
MOST_SAMPLES = 1 << 30  # of a clip, all channels: six hours at 48 kHz; a header can claim any number
MOST_BYTES = 1 << 40
READ_ERRORS = (soundfile.LibsndfileError, RuntimeError, OSError, MemoryError)


@dataclass(frozen=True)
class ClipFile:
    """A clip's audio on disk: ``frames`` samples at ``sample_rate`` hertz, as its header says."""

    split: str
    name: str
    path: Path
    sample_rate: int
    frames: int
    channels: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def source_rate(task: Task, wanted: int) -> int:
    """The rate to read ``task`` at for a model that wants ``wanted`` hertz.

    The wanted rate where the folder has it, else the nearest higher one (resampling down loses nothing the
    model could use), else the highest there is.
    """
    higher = [rate for rate in task.sample_rates if rate >= wanted]
    return higher[0] if higher else task.sample_rates[-1]


def scan_clips(task: Task, splits: Sequence[tuple[str, Sequence[Clip]]], rate: int) -> list[ClipFile]:
    """Headers of the clips at ``rate``, in the order given.

    Raises UserError for a clip that is listed but absent, unreadable, empty or of another rate than its folder.
    """
    folder = task.folder / str(rate)
    wanted = [(split, clip.name) for split, clips in splits for clip in clips]
    files = list(parallel(lambda item: _header(folder / item[0] / item[1], *item, rate), wanted))
    stereo = [file for file in files if file.channels > 1]
    if stereo:
        log.warning(
            "%d of %d clips have more than one channel (the first: %s); the channels are averaged",
            len(stereo),
            len(files),
            stereo[0].path,
        )
    return files


def _header(path: Path, split: str, name: str, rate: int) -> ClipFile:
    if not os.path.lexists(path):
        raise UserError(f"clip not found: {path} (it is listed in {split}.json)")
    check_readable(path, limit=MOST_BYTES)
    try:
        info = soundfile.info(str(path))
    except READ_ERRORS as error:
        raise UserError(f"cannot read audio: {path}: {error}") from error
    if info.frames * info.channels > MOST_SAMPLES:
        raise UserError(
            f"cannot read audio: {path}: its header says {info.frames} samples in {info.channels} channels, "
            f"at most {MOST_SAMPLES} are read as one clip"
        )
    if info.frames == 0:
        raise UserError(f"empty audio: {path} has no samples")
    if info.samplerate != rate:
        raise UserError(f"{path}: sample rate {info.samplerate} Hz, but its folder says {rate} Hz")
    return ClipFile(split, name, path, info.samplerate, info.frames, info.channels)


def read_clip(file: ClipFile, rate: int) -> np.ndarray:
    """The clip's samples at ``rate`` hertz: float32 (samples,), mono, in [-1, 1].

    Raises UserError for audio that breaks off or holds NaN or infinite samples, or has too many of them.
    """
    resampled = file.frames * rate // file.sample_rate
    if resampled > MOST_SAMPLES:
        raise UserError(
            f"cannot read audio: {file.path}: at {rate} Hz it has {resampled} samples, at most {MOST_SAMPLES}"
        )
    try:
        samples, _ = soundfile.read(str(file.path), dtype="float32", always_2d=True)
    except READ_ERRORS as error:
        raise UserError(f"cannot read audio: {file.path}: {error}") from error
    if len(samples) != file.frames:
        raise UserError(f"cannot read audio: {file.path} holds {len(samples)} samples, its header says {file.frames}")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UserError(f"{file.path}: the audio holds NaN or infinite samples")
    if file.sample_rate != rate:
        mono = soxr.resample(mono, file.sample_rate, rate, quality="HQ")
        if not len(mono):  # a clip shorter than one sample of the new rate
            mono = np.zeros(1, dtype=np.float32)
    return np.ascontiguousarray(mono, dtype=np.float32)


def equal_length_batches(files: Sequence[ClipFile], batch_seconds: float) -> Iterator[list[ClipFile]]:
    """Batches of clips of one length and split, each at most ``batch_seconds`` of audio (at least one clip).

    Clips keep their order within a length; lengths come in the order in which they first appear.
    """
    groups: dict[tuple[str, int], list[ClipFile]] = {}
    for file in files:
        groups.setdefault((file.split, file.frames), []).append(file)
    for group in groups.values():
        size = max(1, int(batch_seconds / group[0].seconds))
        for start in range(0, len(group), size):
            yield group[start : start + size]


def parallel(function: Callable[[T], R], items: Sequence[T], ahead: int = 0) -> Iterator[R]:
    """``function`` over ``items`` in threads, in order, at most ``ahead`` results waiting (0: no limit).

    Reading and resampling release Python's lock, so threads use the cores without copying audio around.
    """
    with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
        if not ahead:
            yield from pool.map(function, items)
            return
        waiting = [pool.submit(function, item) for item in items[:ahead]]
        try:
            for i in range(len(items)):
                result = waiting.pop(0).result()
                if i + ahead < len(items):
                    waiting.append(pool.submit(function, items[i + ahead]))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def cpu_count() -> int:
    """Cores this process may use (a Slurm job often has fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
