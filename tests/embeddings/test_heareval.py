import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hostile import answer, damaged, few, json_values, little_memory, nested
from hypothesis import example, given
from hypothesis import strategies as st

from hear_exp.embeddings.heareval import import_embeddings, read_embedded_task, read_labels
from hear_exp.errors import UserError
from hear_exp.scoring.event import Event
from hear_exp.settings.objects import task_targets
from hear_exp.settings.plans import load_task
from hear_exp.tasks.folder import read_task

SCENES = {
    "train": {"a.wav": ["x"], "b.wav": ["y"], "c.wav": ["x"], "d.wav": ["y"]},
    "valid": {"e.wav": ["y"], "f.wav": ["x"]},
    "test": {"g.wav": ["x"], "h.wav": ["y"]},
}
EVENTS = {
    "train": {"a.wav": [{"label": 7, "start": 0, "end": 100}], "b.wav": []},
    "valid": {"c.wav": [{"label": 8, "start": 50, "end": 60}, {"label": 7, "start": 60, "end": 90.5}]},
    "test": {"d.wav": [{"label": 8, "start": 100, "end": 200}]},
}
TIMES_MS = [0.0, 50.0, 100.0]


def write_folder(folder, kind, splits, vocabulary, **metadata):
    """A folder as heareval's embedding stage writes it; embeddings count up through each split, two dimensions."""
    folder.mkdir(parents=True)
    content = {
        "task_name": "hand",
        "version": "v1",
        "embedding_type": kind,
        "prediction_type": "multilabel" if kind == "event" else "multiclass",
        "split_mode": "trainvaltest",
        "splits": list(splits),
        "sample_duration": 1.0,
        "evaluation": ["event_onset_200ms_fms"] if kind == "event" else ["top1_acc"],
        **metadata,
    }
    (folder / "task_metadata.json").write_text(json.dumps(content))
    rows = "".join(f"{i},{label}\n" for i, label in enumerate(vocabulary))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + rows)
    shuffle = random.Random(0).shuffle
    for split, clips in splits.items():
        (folder / f"{split}.json").write_text(json.dumps(clips))
        order = list(clips)
        shuffle(order)
        if kind == "event":
            labels = [
                [e["label"] for e in clips[clip] if e["start"] <= ms <= e["end"]] for clip in order for ms in TIMES_MS
            ]
            stamps = [[f"out/{split}/{clip}", ms] for clip in order for ms in TIMES_MS]
            (folder / f"{split}.filename-timestamps.json").write_text(json.dumps(stamps))
        else:
            labels = [clips[clip] for clip in order]
        write_labels(folder, split, labels)
        np.arange(2 * len(labels), dtype="<f4").tofile(folder / f"{split}.embeddings.npy")
        (folder / f"{split}.embedding-dimensions.json").write_text(json.dumps([len(labels), 2]))
    return folder


def write_labels(folder, split, labels):
    (folder / f"{split}.target-labels.pkl").write_bytes(pickle.dumps(labels))


@pytest.fixture
def scenes(tmp_path):
    return write_folder(tmp_path / "model" / "hand", "scene", SCENES, "xy")


@pytest.fixture
def events(tmp_path):
    return write_folder(tmp_path / "model" / "hand", "event", EVENTS, ["7", "8"])


# What is read -----------------------------------------------------------------------------------------------


def test_scenes_keep_their_rows_and_find_their_names(scenes, tmp_path):
    task = read_embedded_task(scenes)
    shuffled = list("abcd")
    random.Random(0).shuffle(shuffled)
    assert [clip.name[0] for clip in task.split("train").clips] == shuffled != sorted(shuffled)
    assert [clip.labels for clip in task.split("train").clips] == [
        tuple(SCENES["train"][clip.name]) for clip in task.split("train").clips
    ]
    embedded = import_embeddings(task, "model", tmp_path / "cache")
    embeddings = embedded.embeddings
    assert (embedded.computed_clips, embeddings.dim, embeddings.rows) == (8, 2, 8)
    assert embeddings.array()[:4].tolist() == np.arange(8.0).reshape(4, 2).tolist()
    assert [(clip.name, clip.start, clip.count) for clip in embeddings.splits["train"]] == [
        (f"{name}.wav", i, 1) for i, name in enumerate(shuffled)
    ]
    targets = task_targets(task, embeddings)
    assert targets[:4].argmax(axis=1).tolist() == ["xy".index(SCENES["train"][f"{c}.wav"][0]) for c in shuffled]


def test_events_have_their_frames(events, tmp_path):
    task = read_embedded_task(events)
    embeddings = import_embeddings(task, "model", tmp_path / "cache").embeddings
    assert embeddings.rows == 12
    assert embeddings.timestamps_ms().tolist() == TIMES_MS * 4
    assert [(clip.name, clip.start, clip.count) for clip in embeddings.splits["valid"]] == [("c.wav", 6, 3)]
    assert task.split("valid").clips[0].events[1] == Event("7", 60.0, 90.5)
    targets = task_targets(task, embeddings)
    assert targets[6:9].tolist() == [[0, 0], [0, 1], [0, 0]]  # 60..90.5 ms lies between two frames
    assert targets[9:].tolist() == [[0, 0], [0, 0], [0, 1]]


def test_a_second_import_copies_nothing_and_other_content_has_another_key(scenes, tmp_path):
    task = read_embedded_task(scenes)
    first = import_embeddings(task, "model", tmp_path / "cache")
    again = import_embeddings(task, "model", tmp_path / "cache")
    assert again.computed_clips == 0
    assert again.embeddings == first.embeddings
    np.ones(4, dtype="<f4").tofile(scenes / "test.embeddings.npy")
    changed = import_embeddings(read_embedded_task(scenes), "model", tmp_path / "cache")
    assert changed.embeddings.key != first.embeddings.key
    assert changed.embeddings.array()[-2:].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_rows_in_another_order_are_named_by_number(scenes, caplog):
    labels = read_labels(scenes / "train.target-labels.pkl")
    write_labels(scenes, "train", labels[::-1] if labels != labels[::-1] else sorted(labels))
    task = read_embedded_task(scenes)
    assert [clip.name for clip in task.split("train").clips] == [f"row_{i:06d}" for i in range(4)]
    assert "train.target-labels.pkl: the rows are not in heareval's order" in caplog.text
    assert task.split("valid").clips[0].name in ("e.wav", "f.wav")


def test_an_imported_task_is_the_task_itself(scenes, tmp_path):
    copy = shutil.copytree(scenes, tmp_path / "archive")
    (copy / "16000").mkdir()
    assert read_embedded_task(scenes).digest == read_task(copy).digest != ""


def test_integer_labels_are_strings(tmp_path):
    splits = {name: {clip: [0] for clip in clips} for name, clips in SCENES.items()}
    task = read_embedded_task(write_folder(tmp_path / "m" / "t", "scene", splits, ["0", "1"]))
    assert task.split("train").clips[0].labels == ("0",)


# Labels that are not what they should be --------------------------------------------------------------------


class Payload:
    """Unpickling it would call os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_crafted_pickle_runs_nothing(scenes, tmp_path):
    witness = tmp_path / "witness"
    path = scenes / "train.target-labels.pkl"
    for content in (Payload(f"touch {witness}"), [["x"], [Payload(f"touch {witness}")]]):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match="not a pickle of plain lists of labels, and therefore not read") as error:
            read_embedded_task(scenes)
        assert "system" in str(error.value)
        assert not witness.exists()
        pickle.loads(path.read_bytes())  # the payload itself works
        assert witness.exists()
        witness.unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(OrderedDict), "it asks for collections.OrderedDict"),
        (pickle.dumps([[np.str_("x")]]), "it asks for numpy"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "it asks for __builtin__.eval"),
        (b"(S'id'\ni__builtin__\neval\n.", "it asks for __builtin__.eval"),
        (b"Pelsewhere\n.", "it asks for an object stored elsewhere"),
        (b"\x80\x02\x82\x01.", "unregistered extension code"),
        (b"\x80\x04]\x94(]", "therefore not read"),  # torn
        (b"\x80\x04" + b"r\xff\xff\xff\x7f.", "therefore not read"),
        (b"", "therefore not read"),
        (pickle.dumps({"x": 1}), "expected a list with the labels of each row, got a dict"),
        (pickle.dumps((["x"],)), "got a tuple"),
        (pickle.dumps("xyxy"), "got a str"),
        (pickle.dumps([["x"], ("y",)]), r"row 1: expected a list of strings or whole numbers, got \('y',\)"),
        (pickle.dumps([["x"], [["y"]]]), r"row 1: expected a list of strings or whole numbers, got \[\['y'\]\]"),
        (pickle.dumps([[1.5]]), r"row 0: .* got \[1.5\]"),
        (pickle.dumps([[True]]), r"row 0: .* got \[True\]"),
        (pickle.dumps([[None]]), r"row 0: .* got \[None\]"),
        (pickle.dumps([[b"x"]]), r"row 0: .* got \[b'x'\]"),
        (pickle.dumps([{"x"}]), "builtins.set|got {'x'}"),
    ],
)
def test_labels_are_lists_of_strings_and_integers_only(tmp_path, content, message):
    path = tmp_path / "train.target-labels.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_labels(path)


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    return tmp_path_factory.mktemp("pickled") / "train.target-labels.pkl"


PICKLES = [pickle.dumps([["x", "y"], [], ["é", 7]], protocol=protocol) for protocol in (0, 2, 4, 5)]


@few
@given(damaged(PICKLES) | st.binary(max_size=30) | st.builds(pickle.dumps, json_values))
@example(b"\x80\x04r\xff\xff\xff\x7f.")  # nine bytes that took 8.5 GB
@example(b"\x80\x04]r\xff\xff\xff\x0f.")
@example(b"]p2000000000\n.")
@example(b"\x80\x04\x8d\xff\xff\xff\xff\xff\x00\x00\x00.")  # a string of 2**40 bytes
@example(b"\x80\x04\x95\xff\xff\xff\xff\xff\x00\x00\x00].")  # a frame
@example(b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.")  # a bytearray
@example(b"\x80\x04\x8b\xff\xff\xff\x7f\x01.")  # a whole number
@example(b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".")  # lists in lists
@example(b"\x80\x04](K\x01" + b"2\x30" * 20 + b"e.")
@example(pickle.dumps([[10**5000]]))
def test_any_bytes_are_labels_or_a_sentence(pickled, content):
    pickled.write_bytes(content)
    labels = answer(lambda: read_labels(pickled))
    if isinstance(labels, list):
        assert all(type(label) is str for row in labels for label in row)
    else:
        assert str(pickled) in labels


def test_a_place_in_the_memo_that_cannot_be_is_refused(pickled):
    pickled.write_bytes(b"\x80\x04]r\xff\xff\xff\x7f.")
    with pytest.raises(UserError, match="it writes to place 2147483647 of its memo after 2 steps"):
        read_labels(pickled)


def test_rows_that_are_one_list_take_the_memory_of_one(scenes, pickled):
    """Twenty thousand references to one list of twenty thousand labels: 3 GB, were they copied."""
    pickled.write_bytes(pickle.dumps([["x"] * 20_000] * 20_000))
    with little_memory(mebibytes=32):
        assert len(read_labels(pickled)) == 20_000
        write_labels(scenes, "valid", [["x"] * 20_000] * 2)
        with pytest.raises(UserError, match=r"row \d has the labels \['x', 'x', .*\.\.\.\], but the clip there"):
            read_embedded_task(scenes)


@pytest.mark.parametrize(
    "name", ["train.target-labels.pkl", "train.embedding-dimensions.json", "train.embeddings.npy", "train.json"]
)
def test_a_pipe_is_not_waited_for(scenes, name):
    (scenes / name).unlink()
    os.mkfifo(scenes / name)
    with pytest.raises(UserError, match=f"{name}: it is not a regular file"):
        read_embedded_task(scenes)


@pytest.mark.slow
@few
@given(st.sampled_from(["embedding-dimensions", "filename-timestamps"]), json_values | st.lists(st.tuples(json_values)))
@example("embedding-dimensions", [10**4000, 10**4000])
@example("embedding-dimensions", [True, True])
@example("filename-timestamps", [["a", 10**400]])
@example("filename-timestamps", nested(50))
def test_any_shapes_and_times_are_taken_or_refused(odd_events, name, content):
    folder = odd_events
    path = folder / f"test.{name}.json"
    whole = path.read_text()
    path.write_text(json.dumps(content))
    try:
        assert "test." in answer(lambda: read_embedded_task(folder))
    finally:
        path.write_text(whole)


@pytest.fixture(scope="module")
def odd_events(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("odd") / "hand", "event", EVENTS, ["7", "8"])


def test_all_protocols_of_pickle_are_read(tmp_path):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        labels = [["x", 3], [], ["é" * 300]]
        (tmp_path / "l.pkl").write_bytes(pickle.dumps(labels, protocol=protocol))
        assert read_labels(tmp_path / "l.pkl") == [["x", "3"], [], ["é" * 300]]


# Files that do not belong together --------------------------------------------------------------------------


def test_contradicting_scene_labels_name_the_row(scenes):
    write_labels(scenes, "valid", [["x"], ["x"]])
    with pytest.raises(UserError, match=r"valid.target-labels.pkl: row \d has the labels \['x'\], .* \['y'\] in valid"):
        read_embedded_task(scenes)


def test_contradicting_event_labels_name_the_row(events):
    write_labels(events, "test", [[], ["8"], ["8"]])
    with pytest.raises(UserError, match=r"row 1 \(d.wav at 50 ms\) has the labels \['8'\], .* test.json give \[\]"):
        read_embedded_task(events)


def edit(path, change):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: write_labels(f, "test", [[]]), "labels of 1 rows, but there are embeddings of 3"),
        (lambda f: (f / "test.embeddings.npy").write_bytes(b"0" * 20), "20 bytes, expected 24: 3 rows of 2 float32"),
        (lambda f: (f / "test.embeddings.npy").unlink(), "file not found: .*test.embeddings.npy"),
        (lambda f: (f / "test.target-labels.pkl").unlink(), "file not found: .*test.target-labels.pkl"),
        (lambda f: (f / "test.filename-timestamps.json").unlink(), "file not found: .*test.filename-timestamps.json"),
        (lambda f: edit(f / "test.embedding-dimensions.json", lambda d: [6]), r"expected \[rows, dim\], got \[6\]"),
        (
            lambda f: edit(f / "test.filename-timestamps.json", lambda rows: [["other.wav", ms] for _, ms in rows]),
            r"clips in only one of test.json and .*\['d.wav', 'other.wav'\]",
        ),
        (
            lambda f: edit(f / "test.filename-timestamps.json", lambda rows: rows[::-1]),
            "rows of d.wav are not together",
        ),
        (lambda f: edit(f / "test.filename-timestamps.json", lambda rows: rows[:2]), "has another number"),
        (
            lambda f: edit(f / "test.filename-timestamps.json", lambda rows: [rows[0], [1, "d.wav"]]),
            r"row 1: expected \[file, milliseconds\]",
        ),
    ],
)
def test_a_folder_that_is_not_whole(events, change, message):
    change(events)
    with pytest.raises(UserError, match=message):
        read_embedded_task(events)


def test_embeddings_that_are_not_finite_name_the_row(scenes, tmp_path):
    np.array([0, 1, np.nan, 3], dtype="<f4").tofile(scenes / "valid.embeddings.npy")
    with pytest.raises(UserError, match="valid: NaN or infinite embedding in row 1"):
        import_embeddings(read_embedded_task(scenes), "model", tmp_path / "cache")


def test_embeddings_of_another_width_are_not_read_as_rows_of_this_one(scenes, tmp_path):
    """valid has 2 rows of 2 numbers; 1 row of 4 would fill the same bytes."""
    edit(scenes / "valid.embedding-dimensions.json", lambda shape: [2, 4])
    np.arange(8, dtype="<f4").tofile(scenes / "valid.embeddings.npy")
    with pytest.raises(UserError, match="embeddings of 2 and, in valid, of 4 dimensions"):
        import_embeddings(read_embedded_task(scenes), "model", tmp_path / "cache")


def test_rows_that_are_fewer_than_the_clips(scenes):
    write_labels(scenes, "train", [["x"], ["y"], ["x"]])
    edit(scenes / "train.embedding-dimensions.json", lambda shape: [3, 2])
    np.arange(6, dtype="<f4").tofile(scenes / "train.embeddings.npy")
    with pytest.raises(UserError, match=r"train.target-labels.pkl: 3 rows, but train.json has 4 clips"):
        read_embedded_task(scenes)


# The command ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_options_without_effect_are_refused(scenes, settings_of):
    path = f"embeddings.path={scenes}"
    assert load_task(*settings_of("embeddings=heareval", path, "predictor.lr=1e-3", "seed=1")).name == "hand"
    for override, group in (("model=crepe", "model"), ("+model.options.x=1", "model"), ("task.path=a", "task")):
        with pytest.raises(UserError, match=f"{group} has no effect with embeddings=heareval: .*model/hand"):
            load_task(*settings_of("embeddings=heareval", path, override))
    with pytest.raises(UserError, match="needs the folder that heareval wrote: embeddings"):
        load_task(*settings_of("embeddings=heareval"))


@pytest.mark.slow
def test_a_run_is_named_after_the_folder(scenes, tmp_path):
    command = [sys.executable, "-m", "hear_exp", f"paths.root={tmp_path}", "logger=none", "predictor=knn"]
    command += ["predictor.k=1", "search.workers=1", "embeddings=heareval", f"embeddings.path={scenes}"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    (result,) = Path(tmp_path / "runs" / "hand" / "model").glob("*/result.json")
    content = json.loads(result.read_text())
    assert (content["model"], content["task"], content["clips"]) == ("model", "hand", 8)
    assert content["leaderboard"] is None
