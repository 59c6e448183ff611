"""Task x encoder -> cache: every clip of a task embedded once."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UserError
from ..progress import progress
from ..tasks.audio import RESAMPLER, ClipFile, equal_length_batches, parallel, read_clip, scan_clips, source_rate
from ..tasks.folder import Clip, Task
from .audio_digests import audio_digests
from .backend import is_out_of_memory
from .batching import check_batch_seconds
from .cache import Embeddings, Entry, Writer
from .encoder import Encoder
from .trial import try_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """What embedding a task gave: the cache entry, seconds of work, and how many clips were computed now.

    ``doubts``: sentences about the model, for everyone who reads its scores.
    """

    embeddings: Embeddings
    seconds: float
    computed_clips: int
    doubts: tuple[str, ...] = ()


def clip_order(task: Task) -> list[tuple[str, tuple[Clip, ...]]]:
    """The splits with their clips in row order: shuffled once, one generator seeded with 0 for all splits.

    It is heareval's order, so that batches of consecutive rows hold the same clips as the published scores'.
    """
    generator = random.Random(0)
    order = []
    for split in task.splits:
        clips = list(split.clips)
        generator.shuffle(clips)
        order.append((split.name, tuple(clips)))
    return order


def embed_task(
    task: Task, encoder: Encoder, root: Path, batch_seconds: float = 60.0, *, may_compute: bool = True
) -> Embedded:
    """Embed every clip of ``task`` unless the cache under ``root`` has them already.

    Batches hold clips of one length, at most ``batch_seconds`` of audio; a batch that does not fit into memory
    is halved and tried again. Before the first, the model is tried on two clips (trial.py); what is doubtful is
    logged as a warning, kept in the cache entry and returned, also by later runs that find the entry.

    Raises UserError for audio that cannot be read, for NaN or infinite embeddings (naming model and clip), and for
    embeddings that are not there where nothing may be computed (``may_compute``).
    """
    started = time.perf_counter()
    check_batch_seconds(batch_seconds)
    files = scan_clips(task, clip_order(task), source_rate(task, encoder.sample_rate))
    _check_event_times(task, files)
    digests = audio_digests(files, Path(root) / ".digests", task)
    entry = Entry(root, task.name, encoder.name, cache_key(task, encoder, files, digests), encoder.versions)
    computed, found = 0, True
    if (embeddings := entry.read()) is None:
        if not may_compute:
            raise UserError(
                f"the embeddings of {task.name} by {encoder.name} are not in the cache ({root}), and stage=fit "
                "computes none: the same command with stage=embed does"
            )
        with entry.locked():
            if (embeddings := entry.read()) is None:  # else another process has computed them meanwhile
                found, computed = False, _compute(entry, task, encoder, files, batch_seconds)
                embeddings = entry.read_back()
    if found:
        log.info("embeddings found in the cache: %s", entry.folder)
        entry.tell_versions()
    for doubt in embeddings.doubts:
        log.warning("%s", doubt)
    return Embedded(embeddings, time.perf_counter() - started, computed, embeddings.doubts)


def _check_event_times(task: Task, files: Sequence[ClipFile]) -> None:
    """Warn of annotations that cannot be meant: events after a clip's end, or all of them a few ms long."""
    seconds = {(file.split, file.name): file.seconds for file in files}
    events = [(split.name, clip.name, event) for split in task.splits for clip in split.clips for event in clip.events]
    late = [(split, name, e) for split, name, e in events if e.start_ms > 1000 * seconds[split, name]]
    if late:
        split, name, event = late[0]
        log.warning(
            "%d of %d events begin after their clip ends (the first: %s.json, %s: %s at %g ms of %.0f ms)",
            *(len(late), len(events), split, name, event.label, event.start_ms, 1000 * seconds[split, name]),
        )
    if events and max(e.end_ms for _, _, e in events) < 10 * max(seconds.values()):
        log.warning("all events lie in the first hundredth of the clips: are their times in seconds, not milliseconds?")


def cache_key(task: Task, encoder: Encoder, files: Sequence[ClipFile], digests: Sequence[str]) -> dict[str, Any]:
    """Everything that changes the bytes of an entry: model, audio and its order, rates, kind."""
    content = hashlib.sha256()
    for file, digest in zip(files, digests, strict=True):
        content.update(json.dumps([file.split, file.name, digest]).encode())
    rate = files[0].sample_rate
    resampled = rate != encoder.sample_rate
    return {
        "model": encoder.identity,
        "audio": content.hexdigest(),
        "sample_rate": encoder.sample_rate,
        "resampled_from": rate if resampled else None,
        "resampler": RESAMPLER if resampled else None,
        "kind": task.embedding_type,
    }


def _compute(entry: Entry, task: Task, encoder: Encoder, files: Sequence[ClipFile], batch_seconds: float) -> int:
    event = task.embedding_type == "event"
    writer = entry.writer(encoder.dim(task.embedding_type), timestamps=event)
    try:
        missing = [file for file in files if (file.split, file.name) not in writer.done]
        if len(missing) < len(files):
            log.info("resuming: %d of %d clips are embedded already", len(files) - len(missing), len(files))
        if writer.doubts is None:
            writer.note_doubts(try_model(encoder, event, files, batch_seconds))
        title, done = f"embedding {task.name} x {encoder.name}", len(files) - len(missing)
        with progress(title, total=len(files), done=done, measure="s of audio") as bar:
            batches = list(equal_length_batches(missing, batch_seconds))
            audio = parallel(lambda batch: np.stack([read_clip(f, encoder.sample_rate) for f in batch]), batches, 4)
            for batch, samples in zip(batches, audio, strict=True):
                _embed_batch(writer, encoder, event, batch, samples)
                bar.advance(len(batch), sum(file.seconds for file in batch))
        writer.finish([(file.split, file.name) for file in files])
    finally:
        writer.close()
    return len(missing)


def _embed_batch(writer: Writer, encoder: Encoder, event: bool, batch: list[ClipFile], samples: np.ndarray) -> None:
    times: np.ndarray | None = None
    try:
        if event:
            embeddings, times = encoder.timestamps(samples)
        else:
            embeddings = encoder.scene(samples)[:, np.newaxis]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise UserError(
                f"model {encoder.name}: memory ran out on a single clip ({batch[0].path}, {batch[0].seconds:.1f} s)"
            ) from error
        half = len(batch) // 2
        log.warning("memory ran out on %d clips; trying again with %d", len(batch), half)
    else:
        _check_finite(encoder, batch, embeddings)
        writer.append(batch[0].split, [file.name for file in batch], embeddings, times)
        return
    # Outside the except block: there the traceback would still hold the failed batch's memory.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _embed_batch(writer, encoder, event, batch[:half], samples[:half])
    _embed_batch(writer, encoder, event, batch[half:], samples[half:])


def _check_finite(encoder: Encoder, batch: Sequence[ClipFile], embeddings: np.ndarray) -> None:
    finite = np.isfinite(embeddings).all(axis=(1, 2))
    if not finite.all():
        clip = batch[int(np.argmin(finite))]
        raise UserError(f"model {encoder.name}: NaN or infinite embedding for the clip {clip.path}")
