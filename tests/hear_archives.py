"""HEAR's twenty archives in miniature: their metadata as hear-preprocess wrote it, over a few short clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny import write_wav

RATE = 48000  # the only rate of the public archives
ACCURACY_FIRST = ["top1_acc", "mAP", "d_prime", "aucroc"]
PRECISION_FIRST = ["mAP", "d_prime", "aucroc", "top1_acc"]
PITCH = ["pitch_acc", "chroma_acc"]
PITCHES = {"pitch_range_min": 21, "pitch_range_max": 108, "default_mode": "5h"}
FREQUENCIES_HZ = (500, 1300, 2100, 2900)
Metadata = dict[str, Any]


def _task(name: str, version: str, scores: list[str], seconds: float | None, mode: str, **other: Any) -> Metadata:
    kind = {"embedding_type": "scene", "prediction_type": "multiclass", "default_mode": "full", **other}
    return {
        **{"task_name": name, "version": version, "evaluation": scores, "sample_duration": seconds, "mode": mode},
        **kind,
    }


def _split(*task: Any, limits: tuple[float | None, ...] = (None, None, None), **other: Any) -> Metadata:
    """With train, valid and test; ``limits`` are the seconds that each was cut to."""
    splits = ["train", "valid", "test"]
    durations = dict(zip(splits, limits, strict=True))
    own = {"split_mode": "trainvaltest", "splits": splits, "max_task_duration_by_split": durations}
    return _task(*task, **own, **other)


def _folds(*task: Any, folds: int = 5, split_mode: str = "new_split_kfold", **other: Any) -> Metadata:
    names = [f"fold{i:02d}" for i in range(folds)]
    own = {"split_mode": split_mode, "nfolds": folds, "splits": names, "max_task_duration_by_fold": None}
    return _task(*task, **{**own, **other})


def _tensorflow(task: str, splits: list[str]) -> Metadata:
    """What a task taken from TensorFlow Datasets says besides."""
    return {"tfds_task_name": task, "tfds_task_version": "1.0.0", "extract_splits": splits}


EVENT = {"embedding_type": "event", "prediction_type": "multilabel"}
MAESTRO = {
    **EVENT,
    "default_mode": "5h",
    "max_task_duration_by_fold": 4500.0,
    "use_scoring_for_early_stopping": False,
    "evaluation_params": {
        "event_postprocessing_grid": {"median_filter_ms": [150], "min_duration": [50]},
        "task_specific_param_grid": {"max_epochs": [50], "check_val_every_n_epoch": [1]},
    },
}
BEES = ["aucroc", "mAP", "d_prime", "top1_acc"]
EVENTS_50MS = ["event_onset_50ms_fms", "event_onset_offset_50ms_20perc_fms"]
COMMANDS = ("speech_commands", "v0.0.2", ["top1_acc"], 1.0)
SMALL, LARGE = (16000.0, 2000.0, 2000.0), (160000.0, 20000.0, 20000.0)

# task= of the command -> its archives' metadata; an archive's folder is task_name-version-mode
ARCHIVES: dict[str, list[Metadata]] = {
    "beehive_states": [_split(f"beehive_states_fold{i}", "v2", BEES, 600, "full", default_mode="5h") for i in range(2)],
    "beijing_opera": [_folds("beijing_opera", "v1.0-hear2021", ACCURACY_FIRST, 4.77, "full")],
    "crema_d": [
        _folds("tfds_crema_d", "1.0.0", ACCURACY_FIRST, 5, "full", **_tensorflow("crema_d", ["train", "test", "valid"]))
    ],
    "dcase2016": [
        _split(
            *("dcase2016_task2", "hear2021", ["event_onset_200ms_fms", "segment_1s_er"], 120.0, "full"),
            **EVENT,
            split_percentage={"valid": 20, "test": 20, "train": 60},
        )
    ],
    "esc50": [_folds("esc50", "v2.0.0", ACCURACY_FIRST, 5, "full", split_mode="presplit_kfold")],
    "fsd50k": [_split("fsd50k", "v1.0", PRECISION_FIRST, None, "full", prediction_type="multilabel")],
    "gtzan_genre": [
        _folds("tfds_gtzan", "1.0.0", ACCURACY_FIRST, 30.0, "full", folds=10, **_tensorflow("gtzan", ["train"]))
    ],
    "gtzan_music_speech": [
        _folds(
            *("tfds_gtzan_music_speech", "1.0.0", ACCURACY_FIRST, 30.0, "full"),
            folds=10,
            **_tensorflow("gtzan_music_speech", ["train"]),
        )
    ],
    "gunshot_triangulation": [_folds("gunshot_triangulation", "v1.0", ACCURACY_FIRST, 1.5, "full", folds=7)],
    "libricount": [_folds("libricount", "v1.0.0-hear2021", ACCURACY_FIRST, 5.0, "full")],
    "maestro_5h": [_folds("maestro", "v3.0.0", EVENTS_50MS, 120.0, "5h", **MAESTRO)],
    "mridangam_stroke": [_folds("mridangam_stroke", "v1.5", ACCURACY_FIRST, 0.81, "full")],
    "mridangam_tonic": [_folds("mridangam_tonic", "v1.5", ACCURACY_FIRST, 0.81, "full")],
    "nsynth_pitch_50h": [_split("nsynth_pitch", "v2.2.3", PITCH, 4.0, "50h", limits=LARGE, **PITCHES)],
    "nsynth_pitch_5h": [_split("nsynth_pitch", "v2.2.3", PITCH, 4.0, "5h", limits=SMALL, **PITCHES)],
    "speech_commands_5h": [
        _split(*COMMANDS, "5h", limits=(16000.0, 2000.0, None), default_mode="5h"),
    ],
    "speech_commands_full": [_split(*COMMANDS, "full", default_mode="5h")],
    "vocal_imitation": [_folds("vocal_imitation", "v1.1.3", PRECISION_FIRST, 11.26, "full", folds=3)],
    "vox_lingua_top10": [_folds("vox_lingua_top10", "hear2021", ACCURACY_FIRST, 18.64, "full")],
}


def folder_name(metadata: Metadata) -> str:
    """Name of the folder in an archive."""
    return f"{metadata['task_name']}-{metadata['version']}-{metadata['mode']}"


def write_archives(task: str, root: Path) -> list[Path]:
    """The folders of ``task`` under ``root``, as its archives unpack."""
    return [_write(root / folder_name(metadata), metadata, seed) for seed, metadata in enumerate(ARCHIVES[task])]


def _write(folder: Path, metadata: Metadata, seed: int) -> Path:
    """Four labels (of 88 pitches, where the task is about pitch), each of them a tone in noise.

    Labels of NSynth and MAESTRO are whole numbers in the JSON files, those of the others strings. FSD50K's clips
    differ in length, and every fourth one has no label. Event clips last 2 s and have a tone every 400 ms.
    """
    random = np.random.default_rng(seed)
    pitched = metadata["task_name"] in ("nsynth_pitch", "maestro")
    used: list[Any] = [60, 72, 61, 49] if pitched else ["Dog", "Bell, church", "none", "7"]
    vocabulary = range(21, 109) if pitched else sorted(used)
    folder.mkdir(parents=True)
    (folder / "task_metadata.json").write_text(json.dumps(metadata, indent=4))
    rows = "".join(f'{i},"{label}"\n' for i, label in enumerate(vocabulary))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + rows)
    event, several = metadata["embedding_type"] == "event", metadata["sample_duration"] is None
    for split in metadata["splits"]:
        annotation: dict[str, list[Any]] = {}
        for i in range(3 if event else 8):
            seconds = 2.0 if event else 0.2 + 0.1 * (several * i % 3)
            audio = 0.05 * random.standard_normal(round(seconds * RATE))
            if event:
                clip = [{"label": used[(i + n) % 4], "start": 400.0 * n, "end": 400.0 * n + 250} for n in range(5)]
                for entry in clip:
                    start = round(entry["start"] * RATE / 1000)
                    audio[start : start + RATE // 4] += _tone(used.index(entry["label"]), RATE // 4)
            else:
                indices = [n for n in range(4) if i % 4 and (i + n) % 3] if several else [i % 4]
                clip = [used[n] for n in indices]
                for n in indices:
                    audio += _tone(n, len(audio))
            annotation[f"{split}_{i}.wav"] = clip
            write_wav(folder / str(RATE) / split / f"{split}_{i}.wav", audio, RATE)
        (folder / f"{split}.json").write_text(json.dumps(annotation))
    return folder


def _tone(label: int, samples: int) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * FREQUENCIES_HZ[label] * np.arange(samples) / RATE)
