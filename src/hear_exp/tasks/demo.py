"""Demo tasks in HEAR's layout, synthesised on first use: no download, the same bits on every run."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.random import PCG64, Generator

from ..errors import UserError
from ..files import locked, read_json, remove_leftovers, remove_stale, temporary_name
from .synth import BANK, RATE, Signal, fade, log_uniform, noise, note, scaled

DEMO_VERSION = "demo-1"

Entries = list[Any]  # a clip's value in SPLIT.json: labels (scene) or {label, start, end} in ms (event)


@dataclass(frozen=True)
class DemoTask:
    """What a demo task is made of.

    ``clips`` maps each split to its number of clips. ``compose(rng, index, labels)`` makes clip ``index`` of
    a split: its samples at 44100 Hz, not yet levelled, and its entry in the split's JSON file.
    """

    name: str
    labels: tuple[str, ...]
    clips: Mapping[str, int]
    compose: Callable[[Generator, int, tuple[str, ...]], tuple[Signal, Entries]]
    embedding_type: str
    prediction_type: str
    split_mode: str
    sample_duration_s: float | None
    evaluation: tuple[str, ...]
    # A task's own search settings, as some HEAR tasks have them: here so that the demo takes a minute, not an hour.
    predictor_grid: Mapping[str, list[Any]] = field(default_factory=lambda: {"max_epochs": [150], "patience": [10]})
    peak_db: tuple[float, float] = (-20.0, -2.0)  # limits of a clip's random peak level, relative to full scale

    @property
    def metadata(self) -> dict[str, Any]:
        """Content of task_metadata.json."""
        folds = {} if self.split_mode == "trainvaltest" else {"nfolds": len(self.clips)}
        return {
            "task_name": self.name,
            "version": DEMO_VERSION,
            "embedding_type": self.embedding_type,
            "prediction_type": self.prediction_type,
            "split_mode": self.split_mode,
            "splits": list(self.clips),
            **folds,
            "sample_duration": self.sample_duration_s,
            "evaluation": list(self.evaluation),
            "evaluation_params": {"task_specific_param_grid": dict(self.predictor_grid)},
        }


def _samples(duration_s: float) -> int:
    return round(duration_s * RATE)


def _in_noise(rng: Generator, signal: Signal, low_snr_db: float, high_snr_db: float) -> Signal:
    """``signal``, of RMS about 1 where it sounds, over coloured noise at a random SNR within these limits."""
    return signal + scaled(noise(rng, len(signal), rng.uniform(-6, 0)), -rng.uniform(low_snr_db, high_snr_db))


_NOTE_S = 0.6
_LOWEST_MIDI = 24  # a C, so that index mod 12 is the pitch class, which chroma_acc relies on


def _compose_note(rng: Generator, index: int, labels: tuple[str, ...]) -> tuple[Signal, Entries]:
    """One note, up to 25 cents out of tune."""
    label = labels[index % len(labels)]
    frequency_hz = 440 * 2 ** ((int(label) - 69 + rng.uniform(-0.25, 0.25)) / 12)
    signal = scaled(note(rng, _samples(_NOTE_S), frequency_hz))
    return _in_noise(rng, signal, 3, 25), [label]


_SOUND_S = 1.0


def _compose_sound(rng: Generator, index: int, labels: tuple[str, ...]) -> tuple[Signal, Entries]:
    """One sound somewhere in a clip."""
    label = labels[index % len(labels)]
    n, length = _samples(_SOUND_S), _samples(rng.uniform(0.5, 0.95))
    start = int(rng.integers(n - length + 1))
    signal = np.zeros(n)
    signal[start : start + length] = scaled(BANK[label](rng, length))
    return _in_noise(rng, signal, 5, 30), [label]


_UNTAGGED_EVERY = 13


def _compose_tags(rng: Generator, index: int, labels: tuple[str, ...]) -> tuple[Signal, Entries]:
    """A clip of 0.5 to 3 s with one to three sounds, or with none in every thirteenth clip."""
    n = _samples(round(log_uniform(rng, 0.5, 3.0), 2))
    if index % _UNTAGGED_EVERY == _UNTAGGED_EVERY - 1:
        return noise(rng, n, rng.uniform(-6, 0)), []
    # The first label goes round, so that a split has every label however few clips it holds.
    others = [label for label in labels if label != labels[index % len(labels)]]
    extra = rng.choice(len(others), size=rng.choice(3, p=[0.5, 0.35, 0.15]), replace=False)
    present = sorted([labels[index % len(labels)], *(others[i] for i in extra)])
    signal = np.zeros(n)
    for label in present:
        length = min(n, _samples(rng.uniform(0.4, 1.2)))
        start = int(rng.integers(n - length + 1))
        signal[start : start + length] += scaled(BANK[label](rng, length), rng.uniform(-6, 6))
    return _in_noise(rng, signal, 5, 30), present


_SCENE_S = 30.0
_EVENT_GAP_S = 0.5  # between events of one class: two that touch would read as one
_EVENT_S = {"thud": (0.25, 0.6), "bell": (0.6, 2.0), "string": (0.4, 1.5), "siren": (0.6, 2.5)}
_OTHER_EVENT_S = (0.3, 1.5)


def _starts(rng: Generator, lengths: Signal, total: float, gap: float) -> Signal:
    """Random start times of spans of these lengths within ``total``, in order, at least ``gap`` apart."""
    free = total - lengths.sum() - gap * (len(lengths) - 1)
    assert free >= 0, "the events of a class do not fit in the scene"
    starts: Signal = np.sort(rng.uniform(0, free, len(lengths))) + np.append(0.0, np.cumsum(lengths + gap)[:-1])
    return starts


def _compose_events(rng: Generator, index: int, labels: tuple[str, ...]) -> tuple[Signal, Entries]:
    """A scene over noise with one to four events of every class, which may overlap those of other classes."""
    n = _samples(_SCENE_S)
    scene = noise(rng, n, rng.uniform(-6, -1))
    events = []
    for label in labels:
        lengths = rng.uniform(*_EVENT_S.get(label, _OTHER_EVENT_S), size=rng.integers(1, 5))
        for start_s, length_s in zip(_starts(rng, lengths, _SCENE_S, _EVENT_GAP_S), lengths, strict=True):
            start, length = int(start_s * RATE), int(length_s * RATE)
            sound = scaled(BANK[label](rng, length), rng.uniform(-3, 15))
            scene[start : start + length] += sound * fade(length, 0.001, 0.01)
            times = {"start": round(start * 1000 / RATE, 3), "end": round((start + length) * 1000 / RATE, 3)}
            events.append({"label": label, **times})
    return scene, sorted(events, key=lambda event: (event["start"], event["label"]))


_TASKS = {
    task.name: task
    for task in (
        DemoTask(
            name="demo_scene",
            labels=tuple(str(_LOWEST_MIDI + i) for i in range(36)),
            clips={"train": 468, "valid": 108, "test": 144},
            compose=_compose_note,
            embedding_type="scene",
            prediction_type="multiclass",
            split_mode="trainvaltest",
            sample_duration_s=_NOTE_S,
            evaluation=("pitch_acc", "chroma_acc"),
            peak_db=(-50.0, -2.0),
        ),
        DemoTask(
            name="demo_folds",
            labels=tuple(label for label in BANK if label != "hiss"),
            clips={f"fold{i:02d}": 84 for i in range(5)},
            compose=_compose_sound,
            embedding_type="scene",
            prediction_type="multiclass",
            split_mode="new_split_kfold",
            sample_duration_s=_SOUND_S,
            evaluation=("top1_acc", "mAP", "d_prime", "aucroc"),
        ),
        DemoTask(
            name="demo_tags",
            labels=tuple(label for label in BANK if label not in ("flutter", "sweep_down", "trill")),
            clips={"train": 260, "valid": 65, "test": 78},
            compose=_compose_tags,
            embedding_type="scene",
            prediction_type="multilabel",
            split_mode="trainvaltest",
            sample_duration_s=None,
            evaluation=("mAP", "d_prime", "aucroc"),
        ),
        DemoTask(
            name="demo_events",
            labels=tuple(label for label in BANK if label not in ("flutter", "sweep_down", "sweep_up", "trill")),
            clips={"train": 24, "valid": 8, "test": 8},
            compose=_compose_events,
            embedding_type="event",
            prediction_type="multilabel",
            split_mode="trainvaltest",
            sample_duration_s=_SCENE_S,
            evaluation=("event_onset_200ms_fms", "segment_1s_er"),
            # 14,000 training frames: an epoch takes seconds.
            predictor_grid={
                "hidden_layers": [1],
                "initialization": ["xavier_normal"],
                "lr": [1e-3, 3.2e-4],
                "max_epochs": [30],
                "patience": [5],
            },
        ),
    )
}

DEMO_TASKS: tuple[str, ...] = tuple(_TASKS)


def ensure_demo_task(name: str, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Generate the demo task ``name`` as ``folder`` unless it is there already, and return ``folder``.

    ``progress(done, total)`` is called after each clip. The task is built beside ``folder`` under a file lock
    and renamed at the end: a killed run leaves nothing that looks whole, and processes may race. The bits may
    depend on NumPy's version and the kind of processor, but not on threads, processes or time.

    Raises:
        UserError: no such demo task, or ``folder`` holds something else or another version of it.
    """
    if name not in _TASKS:
        raise UserError(f"unknown demo task {name!r}, expected one of: {', '.join(DEMO_TASKS)}")
    folder = Path(folder)
    if _is_there(name, folder):
        return folder
    with locked(folder.with_name(f".{folder.name}.lock"), f"another process generates {name}; waiting for it"):
        if not _is_there(name, folder):
            remove_leftovers(folder)  # we hold the lock, so their builders are dead
            remove_stale(folder.parent)
            building = temporary_name(folder)
            try:
                write_demo_task(_TASKS[name], building, progress=progress)
                os.replace(building, folder)
            except OSError as error:
                if not _is_there(name, folder):  # there: of another machine, which the lock does not reach
                    raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return folder


def _is_there(name: str, folder: Path) -> bool:
    """Whether ``folder`` holds this version of the task; raises UserError if it holds anything else."""
    if not folder.exists():
        return False
    mend = f"remove {folder} to have it generated anew"
    try:
        metadata = read_json(folder / "task_metadata.json")
        found = (metadata["task_name"], metadata["version"])
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder} is there but is not demo task {name} ({error}): {mend}") from error
    if found != (name, DEMO_VERSION):
        held, expected = " version ".join(map(str, found)), f"{name} version {DEMO_VERSION}"
        raise UserError(f"{folder} holds {held}, expected {expected}: {mend}")
    return True


def write_demo_task(
    task: DemoTask, folder: Path, *, progress: Callable[[int, int], None] | None = None, workers: int = 2
) -> None:
    """Write ``task`` into the new folder ``folder``, its metadata last.

    ``workers`` threads share the clips, each of which has a seed of its own: their number changes no bit.
    """
    jobs = [(split, index) for split, count in task.clips.items() for index in range(count)]
    for split in task.clips:
        (folder / str(RATE) / split).mkdir(parents=True)
    content: dict[str, dict[str, Entries]] = {split: {} for split in task.clips}
    with ThreadPoolExecutor(workers) as pool, contextlib.ExitStack() as stack:
        clips = pool.map(lambda job: _write_clip(task, folder, *job), jobs)
        stack.callback(clips.close)  # type: ignore[attr-defined]  # Ctrl-C does not wait for the clips to come
        for done, ((split, _), (clip, entries)) in enumerate(zip(jobs, clips, strict=True), start=1):
            content[split][clip] = entries
            if progress is not None:
                progress(done, len(jobs))
    for split, entries_of in content.items():
        (folder / f"{split}.json").write_text(json.dumps(entries_of, indent=1), encoding="utf-8")
    with (folder / "labelvocabulary.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("idx", "label"), *enumerate(task.labels)])
    (folder / "task_metadata.json").write_text(json.dumps(task.metadata, indent=2), encoding="utf-8")


def _write_clip(task: DemoTask, folder: Path, split: str, index: int) -> tuple[str, Entries]:
    """Compose and write one clip; its file name and its entry in the split's JSON file."""
    digest = hashlib.sha256(f"{DEMO_VERSION}/{task.name}/{split}/{index}".encode()).digest()
    rng = Generator(PCG64(int.from_bytes(digest, "big")))
    signal, entries = task.compose(rng, index, task.labels)
    peak = 10 ** (rng.uniform(*task.peak_db) / 20)
    pcm = np.round(signal * (peak * 32767 / np.abs(signal).max())).astype(np.int16)
    clip = f"{split}_{index:04d}.wav"
    path = folder / str(RATE) / split / clip
    try:
        soundfile.write(path, pcm, RATE, subtype="PCM_16")
    except soundfile.LibsndfileError as error:  # a full disk, which it does not number
        raise UserError(f"cannot write {path}: {str(error).rstrip('.')}") from error
    return clip, entries
