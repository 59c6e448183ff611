import json
import pickle

import numpy as np
import pytest
from tiny import embed, write_task

from hear_exp.embeddings.heareval import import_embeddings, read_embedded_task
from hear_exp.export_heareval import write_heareval
from hear_exp.settings.objects import task_targets


@pytest.mark.parametrize(("kind", "folds"), [("multiclass", 3), ("multilabel", 0), ("events", 0)])
def test_what_is_exported_is_imported_unchanged(tmp_path, kind, folds):
    options = {"seconds": 2.0} if kind == "events" else {}
    task, embedded = embed(write_task(tmp_path / "task", kind, clips=6, folds=folds, **options), tmp_path / "cache")
    ours = embedded.embeddings
    target = tmp_path / "out" / "tiny" / "task"
    write_heareval(task, ours, target)
    read = read_embedded_task(target)
    theirs = import_embeddings(read, "tiny", tmp_path / "imported").embeddings
    assert theirs.splits == ours.splits
    assert np.array_equal(theirs.array(), ours.array())
    assert np.array_equal(task_targets(read, theirs), task_targets(task, ours))
    if kind == "events":
        assert np.array_equal(theirs.timestamps_ms(), ours.timestamps_ms())
    assert (read.labels, read.metrics, read.split_mode) == (task.labels, task.metrics, task.split_mode)
    assert [path.name for path in target.parent.iterdir()] == ["task"]  # nothing half written is left


def test_files_are_heareval_s(tmp_path):
    task, embedded = embed(write_task(tmp_path / "task", "events", clips=2, seconds=1.0), tmp_path / "cache")
    folder = tmp_path / "out"
    write_heareval(task, embedded.embeddings, folder)
    rows, dim = json.loads((folder / "test.embedding-dimensions.json").read_text())
    assert (folder / "test.embeddings.npy").stat().st_size == rows * dim * 4
    labels = pickle.loads((folder / "test.target-labels.pkl").read_bytes())
    stamps = json.loads((folder / "test.filename-timestamps.json").read_text())
    assert len(labels) == len(stamps) == rows
    assert all(isinstance(label, str) for row in labels for label in row)
    assert sum(map(len, labels)) > 0
    assert {name.split("/")[-1] for name, _ in stamps} == {"test_0.wav", "test_1.wav"}
    assert json.loads((folder / "test.json").read_text()) == json.loads((tmp_path / "task" / "test.json").read_text())
    assert json.loads((folder / "task_metadata.json").read_text())["splits"] == ["train", "valid", "test"]
