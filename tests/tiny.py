"""Small HEAR task folders of tones, and what a search on one of them needs. Clips take milliseconds to embed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from hear_exp.embeddings.embed import embed_task
from hear_exp.embeddings.encoder import Encoder, Model
from hear_exp.prediction.knn import NearestNeighbours
from hear_exp.prediction.mlp import MLP, Linear
from hear_exp.prediction.protocol import Protocol
from hear_exp.tasks.folder import Task, read_task

if TYPE_CHECKING:
    from hear_exp.prediction.problem import Problem

MODEL = Model("tiny", "tiny_model")
LABELS = ("low", "mid", "high")
FREQUENCIES_HZ = dict(zip(LABELS, (500.0, 1500.0, 3000.0), strict=True))
FIXED = Protocol(
    name="fixed",
    grid_points=None,
    grid_seed=42,
    shuffle=True,
    validation_without_events="zero",
    last_batch_of_one="join",
    postprocessing_choice="best",
    event_end="next_frame",
    median_widths="odd",
    probabilities="float64",
    multilabel_accuracy="any_label",
    median_filter_ms=(250,),
    min_duration_ms=(125, 250),
)
SETTINGS = {  # of a small network
    "hidden_layers": 1,
    "hidden_dim": 32,
    "dropout": 0.1,
    "initialization": "xavier_uniform",
    "lr": 1e-2,
    "batch_size": 8,
    "max_epochs": 12,
    "check_val_every_n_epoch": 3,
    "patience": 20,
}


def write_task(
    folder: Path,
    kind: str = "multiclass",
    *,
    clips: int = 12,
    folds: int = 0,
    rate: int = 8000,
    seconds: float = 0.5,
    noise: float = 0.02,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    **metadata: Any,
) -> Path:
    """A task folder in HEAR's layout with ``clips`` clips a split; a label is a tone.

    ``kind``: multiclass; multilabel (every fourth clip without labels, two lengths); events (tones of 400 ms
    that begin on frames of tiny_model). ``folds``: 0 for train, valid and test, else their number.
    """
    random = np.random.default_rng(seed)
    names = [f"fold{i:02d}" for i in range(folds)] if folds else ["train", "valid", "test"]
    default = {
        "multiclass": ("top1_acc", "mAP"),
        "multilabel": ("mAP", "aucroc"),
        "events": ("event_onset_200ms_fms", "segment_1s_er"),
    }[kind]
    content = {
        "task_name": "tiny",
        "version": "1.0",
        "embedding_type": "event" if kind == "events" else "scene",
        "prediction_type": "multiclass" if kind == "multiclass" else "multilabel",
        "split_mode": "new_split_kfold" if folds else "trainvaltest",
        "splits": names,
        "sample_duration": None if kind == "multilabel" else seconds,
        "evaluation": list(metrics or default),
        **metadata,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task_metadata.json").write_text(json.dumps(content))
    vocabulary = "".join(f"{i},{label}\n" for i, label in enumerate(LABELS))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + vocabulary)
    for split in names:
        annotation = {}
        for i in range(clips):
            name = f"{split}_{i}.wav"
            length = seconds * (1 + i % 2) if kind == "multilabel" else seconds
            audio = noise * random.standard_normal(round(length * rate))
            if kind == "events":
                annotation[name] = _events(audio, rate, random)
            else:
                annotation[name] = [LABELS[i % 3]] if kind == "multiclass" else _tags(i)
                for label in annotation[name]:
                    audio += _tone(label, len(audio), rate)
            write_wav(folder / str(rate) / split / name, audio, rate)
        (folder / f"{split}.json").write_text(json.dumps(annotation))
    return folder


def _tags(i: int) -> list[str]:
    return [label for bit, label in enumerate(LABELS) if i % 4 and (i * 5 >> bit) & 1]


def _events(audio: np.ndarray, rate: int, random: np.random.Generator) -> list[dict[str, Any]]:
    """Adds a tone of 400 ms in every 800 ms to ``audio``; returns their annotation."""
    events = []
    for start in range(200, round(len(audio) / rate * 1000) - 400, 800):
        label = LABELS[random.integers(3)]
        first, last = start * rate // 1000, (start + 400) * rate // 1000
        audio[first:last] += _tone(label, last - first, rate)
        events.append({"label": label, "start": float(start), "end": float(start + 400)})
    return events


def _tone(label: str, samples: int, rate: int) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * FREQUENCIES_HZ[label] * np.arange(samples) / rate)


def write_wav(path: Path, audio: np.ndarray, rate: int) -> Path:
    """16-bit audio, as HEAR's archives hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype="PCM_16")
    return path


def embed(folder: Path, root: Path, batch_seconds: float = 60.0, **options: Any):
    """(task, Embedded) of a task folder with the tiny model."""
    task = read_task(folder)
    return task, embed_task(task, tiny_encoder(**options), root, batch_seconds)


def tiny_encoder(weights: str = "", **options: Any) -> Encoder:
    return Encoder(Model("tiny", "tiny_model", weights, options))


def problem_of(task: Task, embeddings: Any, folder: Path, protocol: Protocol = FIXED, **changes: Any) -> Problem:
    """What a search on ``embeddings`` needs."""
    # Not at the top: this file is also a program, which only embeds and should start soon.
    from hear_exp.prediction.problem import Problem
    from hear_exp.settings.objects import task_targets

    targets = folder / "targets.npy"
    np.save(targets, task_targets(task, embeddings))
    options = {"in_memory": True, "seed": 42, "threads": 1, **changes}
    return Problem(task, embeddings, targets, protocol, **options)


def make_problem(folder: Path, kind: str = "multiclass", protocol: Protocol = FIXED, **options: Any) -> Problem:
    """A task written, embedded and ready to be searched."""
    task, embedded = embed(write_task(folder / "task", kind, **options), folder / "embeddings")
    return problem_of(task, embedded.embeddings, folder, protocol)


def mlp(**changes: Any) -> MLP:
    """A small network's grid point, with some settings changed."""
    return MLP(**{**SETTINGS, **changes})


def linear(**changes: Any) -> Linear:
    """A linear classifier's grid point."""
    names = ("initialization", "batch_size", "max_epochs", "check_val_every_n_epoch", "patience")
    return Linear(**{**{name: SETTINGS[name] for name in names}, "lr": 3e-2, **changes})


def knn(**changes: Any) -> NearestNeighbours:
    """A grid point of nearest neighbours."""
    return NearestNeighbours(**{"k": 3, "metric": "cosine", "temperature": 0.07, "batch_size": 8, **changes})


def grid(**axes: Iterable[Any]) -> list[MLP]:
    """mlp() with one setting after another varied: as many points as there are values."""
    return [mlp(**{name: value}) for name, values in axes.items() for value in values]


def same_weights(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _main(folder: str, root: str, batch_seconds: str, ready: str = "", go: str = "") -> None:
    """Embeds in a process of its own; with ``ready`` and ``go`` waits for others, so that they start together."""
    if ready:
        Path(ready).touch()
        while not Path(go).exists():
            time.sleep(0.01)
    print(embed(Path(folder), Path(root), float(batch_seconds))[1].computed_clips)


if __name__ == "__main__":
    _main(*sys.argv[1:])
