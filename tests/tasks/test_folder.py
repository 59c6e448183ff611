"""Task folders: reading, folds, and a sentence for each thing that can be wrong with one."""

import json
import os
import re
from pathlib import Path

import pytest
from hostile import answer, damaged, few, json_values, nested
from hypothesis import example, given
from hypothesis import strategies as st

from hear_exp.errors import UserError
from hear_exp.scoring.event import Event
from hear_exp.tasks.folder import Clip, Fold, Task, folds, read_task

SCENE = {
    "task_name": "toy",
    "version": "v1",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "split_mode": "trainvaltest",
    "splits": ["train", "valid", "test"],
    "sample_duration": 1.0,
    "evaluation": ["top1_acc", "mAP"],
}
EVENT = {
    **SCENE,
    "embedding_type": "event",
    "prediction_type": "multilabel",
    "evaluation": ["event_onset_200ms_fms", "segment_1s_er"],
}
VOCABULARY = "idx,label\n0,cat\n1,7\n2,dog\n"


def write_task(folder: Path, metadata=SCENE, content=None, vocabulary=VOCABULARY, rates=("16000",)) -> Path:
    """A task folder; ``content`` is what every split's JSON holds."""
    if content is None:
        content = {"x.wav": ["cat"]} if metadata["embedding_type"] == "scene" else {"x.wav": []}
    folder.mkdir(exist_ok=True)
    (folder / "task_metadata.json").write_text(json.dumps(metadata))
    (folder / "labelvocabulary.csv").write_text(vocabulary)
    splits = metadata.get("splits", ["train", "valid", "test"])
    for name in splits if isinstance(splits, list) else []:
        (folder / f"{name}.json").write_text(json.dumps(content))
    for rate in rates:
        (folder / rate).mkdir(exist_ok=True)
    return folder


# Reading ----------------------------------------------------------------------------------------------------


def test_scene_task(tmp_path):
    folder = write_task(
        tmp_path / "toy-v1",
        content={"x.wav": ["cat"], "y.wav": [7], "z.wav": ["7"]},  # a label may be a number
        rates=("48000", "16000", "notes"),
    )
    task = read_task(folder)
    assert (task.name, task.version, task.folder) == ("toy", "v1", folder)
    assert (task.embedding_type, task.prediction_type) == ("scene", "multiclass")
    assert task.labels == ("cat", "7", "dog")
    assert task.sample_rates == (16000, 48000)
    assert task.sample_duration_s == 1.0
    assert task.metrics == ("top1_acc", "mAP")
    assert task.primary_metric == "top1_acc"
    assert task.early_stop_on_score is None
    assert [split.name for split in task.splits] == ["train", "valid", "test"]
    assert task.split("valid").clips == (
        Clip("x.wav", labels=("cat",)),
        Clip("y.wav", labels=("7",)),
        Clip("z.wav", labels=("7",)),
    )


def test_event_task_with_its_own_settings(tmp_path):
    metadata = {
        **EVENT,
        "sample_duration": None,
        "use_scoring_for_early_stopping": False,
        "evaluation_params": {
            "task_specific_param_grid": {"max_epochs": [50]},
            "event_postprocessing_grid": {"median_filter_ms": [150], "min_duration": [50]},
        },
    }
    content = {
        "x.wav": [{"label": 7, "start": 0, "end": 12.5}, {"label": "dog", "start": 3, "end": 3}],
        "y.wav": [],
    }
    task = read_task(write_task(tmp_path, metadata, content))
    assert task.sample_duration_s is None
    assert task.early_stop_on_score is False
    assert task.predictor_grid == {"max_epochs": [50]}
    assert task.postprocessing_grid == {"median_filter_ms": [150], "min_duration": [50]}
    assert task.split("test").clips == (
        Clip("x.wav", events=(Event("7", 0.0, 12.5), Event("dog", 3.0, 3.0))),
        Clip("y.wav"),
    )


def test_multilabel_clips_have_any_number_of_labels(tmp_path):
    accuracies = ["top1_acc", "pitch_acc", "chroma_acc"]  # the published FSD50K lists one of them
    metadata = {**SCENE, "prediction_type": "multilabel", "evaluation": ["mAP", *accuracies]}
    task = read_task(write_task(tmp_path, metadata, {"x.wav": [], "y.wav": ["dog", "cat"]}))
    assert task.metrics == ("mAP", *accuracies)
    assert [clip.labels for clip in task.split("train").clips] == [(), ("dog", "cat")]


def test_vocabulary_rows_in_any_order_and_with_a_byte_order_mark(tmp_path):
    folder = write_task(tmp_path)
    (folder / "labelvocabulary.csv").write_text('idx,label\n2,"a, b"\n0,cat\n1,7\n', encoding="utf-8-sig")
    assert read_task(folder).labels == ("cat", "7", "a, b")


def test_name_falls_back_on_the_folder(tmp_path):
    metadata = {key: value for key, value in SCENE.items() if key not in ("task_name", "version", "splits")}
    task = read_task(write_task(tmp_path / "mine", metadata))
    assert (task.name, task.version) == ("mine", "")
    assert [split.name for split in task.splits] == ["train", "valid", "test"]


# Identity ---------------------------------------------------------------------------------------------------


def test_mode_is_read(tmp_path):
    assert read_task(write_task(tmp_path, {**SCENE, "mode": "5h"})).mode == "5h"
    assert read_task(write_task(tmp_path, {**SCENE, "mode": None, "version": None})).mode == ""
    assert read_task(tmp_path).version == ""


def rewrite(path: Path, change=lambda content: content, **options) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text())), **options))


def test_the_digest_is_that_of_the_content(tmp_path):
    clips = {"x.wav": ["cat"], "é.wav": ["7"]}
    task = read_task(write_task(tmp_path / "a", content=clips))
    assert re.fullmatch("[0-9a-f]{12}", task.digest)
    other = write_task(tmp_path / "b", content={"x.wav": ["cat"], "é.wav": [7]}, rates=("48000", "8000"))
    rewrite(other / "train.json", ensure_ascii=False, indent=4)
    rewrite(
        other / "task_metadata.json",
        lambda m: {**dict(reversed(m.items())), "sample_duration": 1, "evaluation_params": {}, "comment": "a copy"},
    )
    (other / "labelvocabulary.csv").write_bytes(b'label,idx\r\ndog,2\r\n"cat",0\r\n7,1\r\n')
    assert read_task(other).digest == task.digest


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("valid.json", lambda clips: {**clips, "y.wav": ["cat"]}),
        ("valid.json", lambda clips: {"x.wav": ["dog"], "z.wav": ["dog"]}),
        ("valid.json", lambda clips: dict(reversed(clips.items()))),
        ("task_metadata.json", lambda m: {**m, "evaluation": ["mAP", "top1_acc"]}),
        ("task_metadata.json", lambda m: {**m, "splits": ["test", "valid", "train"]}),
        ("task_metadata.json", lambda m: {**m, "sample_duration": 2}),
        ("task_metadata.json", lambda m: {**m, "prediction_type": "multilabel"}),
        ("task_metadata.json", lambda m: {**m, "use_scoring_for_early_stopping": False}),
        ("task_metadata.json", lambda m: {**m, "evaluation_params": {"task_specific_param_grid": {"lr": [1]}}}),
    ],
)
def test_other_content_has_another_digest(tmp_path, file, change):
    folder = write_task(tmp_path, content={"x.wav": ["cat"], "z.wav": ["dog"]})
    before = read_task(folder).digest
    rewrite(folder / file, change)
    assert read_task(folder).digest != before


def test_events_and_the_order_of_labels_are_content(tmp_path):
    event = {"label": "cat", "start": 1, "end": 2.5}
    digests = {
        read_task(write_task(tmp_path, EVENT, {"x.wav": [changed]}, vocabulary)).digest
        for changed in (event, {**event, "start": 1.5}, {**event, "end": 3}, {**event, "label": 7})
        for vocabulary in (VOCABULARY, "idx,label\n1,cat\n0,7\n2,dog\n")
    }
    assert len(digests) == 8
    same = read_task(write_task(tmp_path, EVENT, {"x.wav": [{"end": 2.5, "label": "cat", "start": 1.0}]}))
    assert same.digest in digests


# Folds ------------------------------------------------------------------------------------------------------


def test_trainvaltest_is_one_triple(tmp_path):
    metadata = {**SCENE, "splits": ["test", "valid", "train"]}
    assert folds(read_task(write_task(tmp_path, metadata))) == (Fold(("train",), "valid", "test"),)


@pytest.mark.parametrize("mode", ["new_split_kfold", "presplit_kfold"])
def test_k_folds(tmp_path, mode):
    metadata = {**SCENE, "split_mode": mode, "splits": ["fold02", "fold00", "fold03", "fold01"]}
    assert folds(read_task(write_task(tmp_path, metadata))) == (
        Fold(("fold02", "fold03"), valid="fold01", test="fold00"),
        Fold(("fold00", "fold03"), valid="fold02", test="fold01"),
        Fold(("fold00", "fold01"), valid="fold03", test="fold02"),
        Fold(("fold01", "fold02"), valid="fold00", test="fold03"),
    )


def test_fold_names_from_nfolds(tmp_path):
    metadata = {**SCENE, "split_mode": "new_split_kfold", "nfolds": 3}
    write_task(tmp_path, {**metadata, "splits": ["fold00", "fold01", "fold02"]})
    del metadata["splits"]
    (tmp_path / "task_metadata.json").write_text(json.dumps(metadata))
    assert [split.name for split in read_task(tmp_path).splits] == ["fold00", "fold01", "fold02"]


# What can be wrong ------------------------------------------------------------------------------------------


def read_error(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_task(folder)
    return str(caught.value)


def test_no_folder(tmp_path):
    folder = tmp_path / "none"
    assert read_error(folder) == (f"task folder not found: {folder} (expected a folder with task_metadata.json)")


@pytest.mark.parametrize("name", ["task_metadata.json", "valid.json", "labelvocabulary.csv"])
def test_missing_file(tmp_path, name):
    (write_task(tmp_path) / name).unlink()
    assert read_error(tmp_path).startswith(f"file not found: {tmp_path / name} (a HEAR task folder has one")


@pytest.mark.parametrize("name", ["task_metadata.json", "test.json"])
def test_broken_json(tmp_path, name):
    path = write_task(tmp_path) / name
    path.write_text("{")
    assert read_error(tmp_path).startswith(f"{path}: not valid JSON: ")
    path.write_bytes(b'{"\xff": 1}')
    assert read_error(tmp_path).startswith(f"{path}: not UTF-8 text: ")
    path.write_text("[]")
    assert read_error(tmp_path).startswith(f"{path}: expected a JSON object")


def test_no_audio_folder(tmp_path):
    write_task(tmp_path, rates=())
    assert read_error(tmp_path) == (
        f"{tmp_path}: no audio folder (expected one named after its sample rate, such as 48000)"
    )


@pytest.mark.parametrize(
    ("metadata", "change", "message"),
    [
        (SCENE, {"embedding_type": "song"}, "embedding_type is 'song', expected one of: scene, event"),
        (
            SCENE,
            {"prediction_type": None},
            "prediction_type is None, expected one of: multiclass, multilabel",
        ),
        (
            SCENE,
            {"split_mode": "kfold"},
            "split_mode is 'kfold', expected one of: trainvaltest, new_split_kfold, presplit_kfold",
        ),
        (
            EVENT,
            {"prediction_type": "multiclass"},
            "event tasks are multilabel, but prediction_type is 'multiclass'",
        ),
        (SCENE, {"sample_duration": 0}, "sample_duration is 0, expected seconds above 0, or null"),
        (SCENE, {"sample_duration": "4"}, "sample_duration is '4', expected seconds above 0, or null"),
        (SCENE, {"sample_duration": float("nan")}, "not valid JSON: NaN is not a JSON number"),
        (SCENE, {"sample_duration": 10**400}, "sample_duration is a whole number of 1329 bits"),
        (SCENE, {"sample_duration": True}, "sample_duration is True, expected seconds above 0, or null"),
        (
            SCENE,
            {"evaluation": []},
            "evaluation is [], expected a list of score names, the primary one first",
        ),
        (
            SCENE,
            {"evaluation": "mAP"},
            "evaluation is 'mAP', expected a list of score names, the primary one first",
        ),
        (SCENE, {"evaluation": ["map"]}, "unknown score 'map' in evaluation, expected some of: top1_acc, "),
        (
            SCENE,
            {"evaluation": [["mAP"]]},
            "unknown score ['mAP'] in evaluation, expected some of: top1_acc, ",
        ),
        (
            SCENE,
            {"evaluation": ["segment_1s_er"]},
            "score 'segment_1s_er' is for event tasks, this one's type is scene",
        ),
        (EVENT, {"evaluation": ["mAP"]}, "score 'mAP' is for scene tasks, this one's type is event"),
        (SCENE, {"splits": "train"}, "splits is 'train', expected a list of different split names"),
        (
            SCENE,
            {"splits": ["train", "train"]},
            "splits is ['train', 'train'], expected a list of different split names",
        ),
        (
            SCENE,
            {"splits": ["train", "test"]},
            "splits is ['train', 'test'], but split_mode trainvaltest needs train, valid and test",
        ),
        (
            SCENE,
            {"split_mode": "presplit_kfold", "splits": ["fold00", "fold01"]},
            "2 folds, but k-fold needs at least 3 (train, valid and test)",
        ),
        (
            SCENE,
            {"split_mode": "new_split_kfold", "nfolds": "five"},
            "nfolds is 'five', expected a whole number",
        ),
        (SCENE, {"evaluation_params": [1]}, "evaluation_params is [1], expected a JSON object"),
        (
            SCENE,
            {"evaluation_params": {"task_specific_param_grid": 3}},
            "task_specific_param_grid is 3, expected a JSON object",
        ),
        (
            SCENE,
            {"use_scoring_for_early_stopping": "no"},
            "use_scoring_for_early_stopping is 'no', expected true or false",
        ),
    ],
)
def test_bad_metadata(tmp_path, metadata, change, message):
    write_task(tmp_path, metadata)
    path = tmp_path / "task_metadata.json"
    path.write_text(json.dumps({**metadata, **change}))
    assert read_error(tmp_path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ("", "expected the columns idx,label and at least one row"),
        ("idx,label\n", "expected the columns idx,label and at least one row"),
        ("index,label\n0,cat\n", "expected the columns idx,label and at least one row"),
        ("idx,label\nzero,cat\n", "a value of the column idx is not an integer"),
        ("idx,label\n0,cat\n2,dog\n", "idx must count 0, 1, 2, ... without gaps or repeats"),
        ("idx,label\n0,cat\n0,dog\n", "idx must count 0, 1, 2, ... without gaps or repeats"),
        ("idx,label\n1,cat\n2,dog\n", "idx must count 0, 1, 2, ... without gaps or repeats"),
        ("idx,label\n0,cat\n1,cat\n", "a label is listed twice"),
        ("idx,label\n0,cat\n1\n", "a row has no label"),
    ],
)
def test_bad_vocabulary(tmp_path, vocabulary, message):
    write_task(tmp_path, vocabulary=vocabulary)
    assert read_error(tmp_path) == f"{tmp_path / 'labelvocabulary.csv'}: {message}"


def test_vocabulary_that_is_not_text(tmp_path):
    path = write_task(tmp_path) / "labelvocabulary.csv"
    path.write_bytes(b"idx,label\n0,\xff\n")
    assert read_error(tmp_path).startswith(f"{path}: not UTF-8 text: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "the split has no clips"),
        ({"a/x.wav": ["cat"]}, "a/x.wav: expected a plain file name, without folders"),
        ({"..": ["cat"]}, "..: expected a plain file name, without folders"),
        ({"x.wav": "cat"}, "x.wav: expected a list, got 'cat'"),
        ({"x.wav": ["cow"]}, "x.wav: label 'cow' is not in labelvocabulary.csv"),
        ({"x.wav": [8]}, "x.wav: label 8 is not in labelvocabulary.csv"),
        ({"x.wav": [True]}, "x.wav: a label is a string or an integer, got True"),
        ({"x.wav": [["cat"]]}, "x.wav: a label is a string or an integer, got ['cat']"),
        (
            {"x.wav": ["cat", "dog"]},
            "x.wav: a multiclass clip has exactly one label, this one has 2: ['cat', 'dog']",
        ),
        ({"x.wav": []}, "x.wav: a multiclass clip has exactly one label, this one has 0: []"),
    ],
)
def test_bad_scene_split(tmp_path, content, message):
    write_task(tmp_path, content=content)
    assert read_error(tmp_path) == f"{tmp_path / 'train.json'}: {message}"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("cat", "an event is an object with label, start and end (milliseconds), got 'cat'"),
        (
            {"label": "cat", "start": 1},
            "an event is an object with label, start and end (milliseconds), got {'label': 'cat', ",
        ),
        ({"label": "cow", "start": 1, "end": 2}, "label 'cow' is not in labelvocabulary.csv"),
        ({"label": "cat", "start": -1, "end": 2}, "event times are milliseconds from 0 up, got "),
        ({"label": "cat", "start": "1", "end": 2}, "event times are milliseconds from 0 up, got "),
        ({"label": "cat", "start": 1, "end": 10**400}, "event times are milliseconds from 0 up, got "),
        ({"label": "cat", "start": 1, "end": 1e10}, "an event at 1e+10 ms, which is over a day; "),
        ({"label": ["cat"], "start": 1, "end": 2}, "a label is a string or an integer, got ['cat']"),
        ({"label": "cat", "start": 3, "end": 2}, "the event ends (2 ms) before it starts (3 ms): "),
    ],
)
def test_bad_event_split(tmp_path, event, message):
    write_task(tmp_path, EVENT, content={"x.wav": [event]})
    assert read_error(tmp_path).startswith(f"{tmp_path / 'train.json'}: x.wav: {message}")


# Any content ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """hostile(metadata, content of train.json as bytes): the task, or the sentence that refuses it."""
    folder = tmp_path_factory.mktemp("hostile")

    def read(metadata, content: bytes):
        write_task(folder, metadata)
        (folder / "train.json").write_bytes(content)
        return answer(lambda: read_task(folder))

    return read


_entries = json_values | st.fixed_dictionaries(
    {"label": json_values | st.just(7), "start": json_values, "end": json_values}
)


@pytest.mark.slow
@few
@given(
    st.sampled_from([SCENE, EVENT]), st.dictionaries(st.text(max_size=3), st.lists(_entries, max_size=3), max_size=3)
)
@example(EVENT, {"x.wav": [{"label": "cat", "start": 0, "end": 10**400}]})  # OverflowError
@example(EVENT, {"x.wav": [{"label": "cat", "start": 0, "end": 1e300}]})  # would be scored second by second
@example(EVENT, {"x.wav": [{"label": "cat", "start": 0, "end": nested(50)}]})
@example(SCENE, {"x\0.wav": ["cat"]})
@example(SCENE, {"\\": ["cat"], "x" * 300: ["cat"]})
@example(SCENE, {"x.wav": ["\x1b[2J"]})
@example(SCENE, {"x.wav": ["cat"] * 10_000})
def test_any_labels_are_taken_or_refused(hostile, metadata, content):
    read = hostile(metadata, json.dumps(content).encode())
    assert isinstance(read, Task) or "train.json: " in read


@few
@given(damaged([b'{"x.wav": ["cat"], "y.wav": [7]}', '{"é": ["dog"]}'.encode()]) | st.binary(max_size=40))
@example(b"[" * 100_000)
@example(b'{"x.wav": ' + b"[" * 700 + b"]" * 700 + b"}")
@example(b'{"x.wav": ["cat"], "x.wav": ["dog"]}')  # one of them was lost without a word
@example(b'{"x.wav": [' + b"9" * 5000 + b"]}")
@example(b'\xef\xbb\xbf{"x.wav": ["cat"]}')
def test_any_bytes_are_labels_or_a_sentence(hostile, content):
    read = hostile(SCENE, content)
    assert isinstance(read, Task) or "train.json" in read


@pytest.mark.parametrize("name", ["task_metadata.json", "valid.json", "labelvocabulary.csv"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    path = write_task(tmp_path) / name
    path.unlink()
    os.mkfifo(path)
    assert read_error(tmp_path) == f"cannot read {path}: it is not a regular file (a pipe, socket or device)"


def test_folders_that_are_no_rates(tmp_path):
    rates = ("16000", "0", "²", "٤٨٠٠٠", "048000", "9" * 30)  # "²".isdigit(), but int("²") fails
    assert read_task(write_task(tmp_path, rates=rates)).sample_rates == (16000,)
