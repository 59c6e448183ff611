"""A task's audio at another sample rate, written once beside the one it came at."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import soundfile

from ..errors import UserError
from ..files import locked, remove_stale, temporary_name
from ..progress import progress
from ..tasks.audio import ClipFile, parallel, read_clip, scan_clips
from ..tasks.folder import Task, read_task

_LONGEST_CLIP_S = 3600.0  # no clip takes an hour to write: a temporary file that old is a dead process's

log = logging.getLogger(__name__)


def check_rate(rate: object) -> None:
    """Raises UserError for what is no sample rate in hertz."""
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise UserError(f"download.resample is {rate!r}, expected a sample rate in hertz, such as 16000")


def resample_task(task: Task, rate: int) -> Path:
    """Write TASK/RATE/SPLIT/NAME: mono 16-bit audio at ``rate`` hertz, from the highest rate that the task has.

    A folder of that rate which is there already is left alone. The clips are written beside it and the folder is
    renamed at the end, so it is there whole or not at all; a call after one that was killed goes on where that
    one stopped. The resampler is the one that embedding uses (soxr HQ); HEAR's own files of lower rates were made
    with another one, and an embedding of audio that was rounded to 16 bits a second time differs in the last digits.

    Returns the folder. Raises UserError for a rate that is no rate or above the task's own, and for unreadable audio.
    """
    check_rate(rate)
    target = task.folder / str(rate)
    with locked(task.folder / f".{rate}.lock", f"another process resamples {task.folder}; waiting for it"):
        if target.exists():
            log.info("%s is there already", target)
            return target
        task = read_task(task.folder)  # another process may have written a rate meanwhile
        if rate > (best := task.sample_rates[-1]):
            raise UserError(f"download.resample={rate} is above the {best} Hz of {task.folder}: nothing to gain")
        building = task.folder / f".{rate}.partial"
        files = scan_clips(task, [(split.name, split.clips) for split in task.splits], best)
        for split in task.splits:
            (building / split.name).mkdir(parents=True, exist_ok=True)
            remove_stale(building / split.name, _LONGEST_CLIP_S)
        with progress(f"resampling {task.folder.name} to {rate} Hz", total=len(files)) as bar:
            # A few ahead, so that a long task does not wait in memory.
            for done, _ in enumerate(parallel(lambda file: _write_clip(file, rate, building), files, 16), start=1):
                bar(done)
        os.replace(building, target)
    log.info("%s: %d clips at %d Hz", target, len(files), rate)
    return target


def _write_clip(file: ClipFile, rate: int, building: Path) -> None:
    path = building / file.split / file.name
    if path.exists():  # written before an interruption; renamed into place, hence whole
        return
    pcm = np.round(np.clip(read_clip(file, rate) * 32768.0, -32768, 32767)).astype(np.int16)
    temporary = temporary_name(path)
    try:
        soundfile.write(temporary, pcm, rate, subtype="PCM_16", format="WAV")
        os.replace(temporary, path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(
            f"cannot write {path}: {error}; what is resampled already is kept, and the same command goes on"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
