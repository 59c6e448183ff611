"""What a sweep is about to do: its jobs, the audio to embed, the disk space that takes; and how long the rest takes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

# Of a model that is not loaded yet nobody knows the size. Few have less than this, so that a sweep is only refused
# where it cannot fit: float32 numbers a row, and rows a second of event tasks.
LEAST_DIM, LEAST_FRAMES_PER_S = 64, 5.0


@dataclass(frozen=True)
class JobFacts:
    """What is known of a job before it starts.

    ``entry``: what its embeddings are made from; jobs that share it embed once. ``audio_s``: seconds of audio, None
    where clips differ in length. ``cached``: such embeddings are there, if weights and audio have not changed since.
    ``cache``: the folder that embeddings are written under.
    """

    entry: str
    clips: int
    audio_s: float | None
    is_event: bool
    cached: bool
    cache: Path

    @property
    def least_bytes(self) -> float:
        """What its embeddings take on disk at the very least."""
        rows = (self.audio_s or 0.0) * LEAST_FRAMES_PER_S if self.is_event else self.clips
        return rows * LEAST_DIM * 4


def plan_text(facts: Sequence[JobFacts | None], jobs: int, done: int = 0) -> str:
    """'20 jobs, 3 of them done; to embed: 3.2 h of audio (9 times a model on a task); 8 are probably in the cache'."""
    entries = {fact.entry: fact for fact in facts if fact is not None}
    missing = [fact for fact in entries.values() if not fact.cached]
    hours = sum(fact.audio_s or 0.0 for fact in missing) / 3600
    unknown = sum(fact.clips for fact in missing if fact.audio_s is None)
    audio = f"{hours:.1f} h of audio" + (f" and {unknown} clips of any length" if unknown else "")
    parts = [f"{jobs} job{'s' if jobs != 1 else ''}" + (f", {done} of them done" if done else "")]
    parts += [f"to embed: {audio} ({len(missing)} times a model on a task)"] if missing else []
    cached = len(entries) - len(missing)
    parts += [f"{cached} are probably in the cache already"] if cached else []
    return "; ".join(parts)


def check_space(facts: Sequence[JobFacts | None]) -> None:
    """Raises UserError where the embeddings that are missing cannot fit on the disk, however small they are."""
    missing = {fact.entry: fact for fact in facts if fact is not None and not fact.cached}
    if not missing:
        return
    needed = sum(fact.least_bytes for fact in missing.values())
    cache = next(iter(missing.values())).cache.resolve()
    there = next(path for path in (cache, *cache.parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise UserError(
            f"the embeddings of this sweep need at least {needed / 1e9:.1f} GB, and {there} has {free / 1e9:.1f} GB "
            "free: free some space, or choose another folder with paths.embeddings=FOLDER"
        )


def time_left(done: int, jobs: int, seconds: float) -> str:
    """'3 of 20 jobs, about 12 min left', at the speed so far: ``done`` jobs in ``seconds``."""
    text = f"{done} of {jobs} jobs"
    if not 0 < done < jobs:
        return text
    left = (jobs - done) * seconds / done
    shown = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min" if left < 5400 else f"{left / 3600:.1f} h"
    return f"{text}, about {shown} left"
