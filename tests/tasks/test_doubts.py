"""Doubts about a task's data: what is found, in which words, and that a sound task has none."""

import json
from pathlib import Path

import pytest

from hear_exp.tasks.doubts import data_doubts
from hear_exp.tasks.folder import read_task

LABELS = ["cat", "dog", "cow"]


def scenes(folder: Path, splits: dict[str, list[str]], vocabulary=LABELS, **metadata):
    """A task with a clip for each label of a split."""
    content = {name: {f"{i}.wav": [label] for i, label in enumerate(labels)} for name, labels in splits.items()}
    return write(folder, content, vocabulary, **metadata)


def write(folder: Path, content, vocabulary, **changes):
    metadata = {
        "task_name": "toy",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest" if "train" in content else "new_split_kfold",
        "splits": list(content),
        "evaluation": ["top1_acc"],
        **changes,
    }
    (folder / "task_metadata.json").write_text(json.dumps(metadata))
    rows = "".join(f"{i},{label}\n" for i, label in enumerate(vocabulary))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + rows)
    for name, clips in content.items():
        (folder / f"{name}.json").write_text(json.dumps(clips))
    return read_task(folder, needs_audio=False)


def test_a_sound_task_has_none(tmp_path, caplog):
    task = scenes(tmp_path, dict.fromkeys(("train", "valid", "test"), LABELS * 4))
    assert data_doubts(task) == ()
    assert not caplog.records


def test_a_validation_set_of_three_clips(tmp_path, caplog):
    task = scenes(tmp_path, {"train": LABELS * 9, "valid": LABELS, "test": LABELS * 9})
    expected = (
        "the validation set has few clips (valid: 3), so that settings and epochs are chosen by chance; "
        "at least 10 are needed to tell them apart"
    )
    assert data_doubts(task) == (expected,)
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_few_clips_in_folds(tmp_path):
    task = scenes(tmp_path, {"fold00": LABELS * 4, "fold01": LABELS * 3, "fold02": LABELS * 2})
    (doubt,) = data_doubts(task)
    assert doubt.startswith("2 of 3 validation folds have few clips (fold02: 6), so that")


def test_events_are_counted_not_clips(tmp_path):
    events = [{"label": label, "start": i, "end": i + 1} for i, label in enumerate(LABELS * 4)]
    kind = {"embedding_type": "event", "prediction_type": "multilabel", "evaluation": ["segment_1s_er"]}
    task = write(tmp_path, {name: {"x.wav": events} for name in ("train", "valid", "test")}, LABELS, **kind)
    assert data_doubts(task) == ()
    (tmp_path / "valid.json").write_text('{"x.wav": [], "y.wav": []}')
    first, second = data_doubts(read_task(tmp_path, needs_audio=False))
    assert first.startswith("the validation set has few annotated events (valid: 0), so that")
    assert second == (
        "valid lacks 3 of 3 labels that other splits have (cat, dog, cow): settings and epochs are chosen without them"
    )


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", "no training clip has 2 of 3 labels that clips of test have (dog, cow): they cannot be learned"),
        (
            "valid",
            "valid lacks 2 of 3 labels that other splits have (dog, cow): settings and epochs are chosen without them",
        ),
        ("test", "test lacks 2 of 3 labels that other splits have (dog, cow): they are not tested"),
    ],
)
def test_a_split_that_lacks_labels_names_them(tmp_path, split, expected):
    clips = dict.fromkeys(("train", "valid", "test"), LABELS * 4)
    assert data_doubts(scenes(tmp_path, {**clips, split: ["cat"] * 12})) == (expected,)


def test_a_label_that_no_clip_has(tmp_path):
    task = scenes(tmp_path, dict.fromkeys(("train", "valid", "test"), LABELS * 4), [*LABELS, "unicorn"])
    assert data_doubts(task) == (
        "1 of 4 labels of the vocabulary occur in no clip of any split (unicorn): leave them out",
    )


def test_folds_that_lack_labels_are_one_sentence_each(tmp_path):
    """Only fold00 has cows: it is never trained on them, and the others neither validate nor test them."""
    task = scenes(tmp_path, {"fold00": LABELS * 4, "fold01": ["cat", "dog"] * 6, "fold02": ["cat", "dog"] * 6})
    assert data_doubts(task) == (
        "no training clip has 1 of 3 labels that clips of fold00 have (cow): they cannot be learned; "
        "so it is with 1 of 3 folds",
        "fold01 lacks 1 of 3 labels that other splits have (cow): they count neither in its validation nor in its "
        "test; so it is with 2 of 3 folds",
    )


def test_many_labels_are_counted(tmp_path):
    vocabulary = [f"label{i}" for i in range(20)]
    clips = dict.fromkeys(("train", "valid"), vocabulary)
    (doubt,) = data_doubts(scenes(tmp_path, {**clips, "test": vocabulary[:3]}, vocabulary))
    assert "17 of 20 labels that other splits have (label3, label4, label5, label6, label7 and 12 more)" in doubt
