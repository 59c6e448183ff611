"""The embedding cache: keys, resuming after a kill at any point, order of rows, damage, locks."""

import json
import logging
import os
import shutil
import threading
import time

import numpy as np
import pytest

from hear_exp import cache
from hear_exp.cache import EMBEDDINGS, TIMESTAMPS, ClipRows, Embeddings, Entry, key_digest

KEY = {"model": {"module": "m", "options": {"a": 1, "b": 2}}, "audio": "abc"}
# Batches as they are computed: clips of one length together. And the order that is wanted.
BATCHES = (("train", ("a", "c"), 2), ("train", ("b",), 3), ("test", ("d", "e"), 1))
ORDER = (("train", "a"), ("train", "b"), ("train", "c"), ("test", "e"), ("test", "d"))
ROWS = {"a": 2, "b": 3, "c": 2, "d": 1, "e": 1}
DIM = 3


def rows_of(clip: str) -> np.ndarray:
    """Rows that no other clip has: (frames, dim)."""
    return np.arange(ROWS[clip] * DIM, dtype=np.float32).reshape(-1, DIM) + 100 * ord(clip)


def times_of(clip: str) -> np.ndarray:
    return np.arange(ROWS[clip], dtype=np.float64) * 50 + 25 + 1e-9 * ord(clip)


def append(writer: cache.Writer, batch) -> None:
    split, names, _ = batch
    times = np.stack([times_of(name) for name in names])
    writer.append(split, names, np.stack([rows_of(name) for name in names]), times)


def append_missing(writer: cache.Writer) -> int:
    """Appends what a run would compute after a kill; returns how many clips that were."""
    computed = 0
    for split, names, frames in BATCHES:
        missing = [name for name in names if (split, name) not in writer.done]
        if missing:
            append(writer, (split, missing, frames))
            computed += len(missing)
    return computed


def written(entry: Entry) -> Entry:
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.finish(ORDER)
    return entry


def check(embeddings: Embeddings | None) -> None:
    """Every clip's rows, in the wanted order."""
    assert embeddings is not None
    assert embeddings.array().tolist() == [row for _, c in ORDER for row in rows_of(c).tolist()]
    assert embeddings.timestamps_ms().tolist() == [t for _, c in ORDER for t in times_of(c).tolist()]
    assert embeddings.splits == {
        "train": (ClipRows("a", 0, 2), ClipRows("b", 2, 3), ClipRows("c", 5, 2)),
        "test": (ClipRows("e", 7, 1), ClipRows("d", 8, 1)),
    }
    assert embeddings.split_range("train") == range(0, 7)
    assert embeddings.split_range("test") == range(7, 9)


@pytest.fixture
def entry(tmp_path, monkeypatch) -> Entry:
    monkeypatch.setattr(cache.os, "fsync", lambda file: None)  # slow, and only matters when the power fails
    return Entry(tmp_path, "task", "model", KEY)


# Keys -------------------------------------------------------------------------------------------------------


def test_digest_does_not_depend_on_the_order_of_names():
    same = {"audio": "abc", "model": {"options": {"b": 2, "a": 1}, "module": "m"}}
    assert key_digest(same) == key_digest(KEY)


def test_digest_stays_the_same_between_versions_of_the_project():
    # A changed digest would throw away everything that anybody has embedded.
    assert key_digest(KEY) == "c69fe44f0b37"


@pytest.mark.parametrize(
    "other",
    [
        {**KEY, "audio": "abd"},
        {**KEY, "kind": "scene"},
        {**KEY, "model": {"module": "m", "options": {"a": 1, "b": 3}}},
        {**KEY, "model": {"module": "m", "options": {"a": 1, "b": "2"}}},
    ],
)
def test_digest_depends_on_every_value(other):
    assert key_digest(other) != key_digest(KEY)


def test_the_key_stands_beside_the_data(entry):
    written(entry)
    assert json.loads((entry.folder / "key.json").read_text()) == KEY
    assert entry.folder.name == f"model-{key_digest(KEY)}"
    assert entry.read().key == key_digest(KEY)


def test_names_that_no_folder_can_have(tmp_path):
    entry = Entry(tmp_path, "a/b", "../c d", KEY)
    assert entry.folder.parent.parent == tmp_path
    assert entry.folder.parent.name == "a_b"
    assert entry.folder.name.startswith(".._c_d-")


# Reading ----------------------------------------------------------------------------------------------------


def test_round_trip_in_the_wanted_order(entry):
    assert entry.read() is None
    check(written(entry).read())
    assert not (entry.folder / "partial").exists()


def test_rows_in_order_are_not_copied(entry, monkeypatch):
    monkeypatch.setattr(cache.Writer, "_permute", None)
    writer = entry.writer(DIM, timestamps=False)
    writer.append("train", ["a", "c"], np.stack([rows_of("a"), rows_of("c")]), None)
    writer.finish([("train", "a"), ("train", "c")])
    embeddings = entry.read()
    assert embeddings.array().tolist() == [*rows_of("a").tolist(), *rows_of("c").tolist()]
    assert not embeddings.has_timestamps


def test_array_can_be_written_to_without_touching_the_file(entry):
    written(entry)
    entry.read().array()[:] = 0
    check(entry.read())


def test_without_a_manifest_it_is_not_whole(entry):
    written(entry)
    (entry.folder / "manifest.json").unlink()
    assert entry.read() is None


def damage_shorter(entry):
    with (entry.folder / EMBEDDINGS).open("r+b") as file:
        file.truncate(10)


def damage_longer(entry):
    with (entry.folder / TIMESTAMPS).open("ab") as file:
        file.write(b"x")


def damage_absent(entry):
    (entry.folder / EMBEDDINGS).unlink()


def damage_empty_manifest(entry):
    (entry.folder / "manifest.json").write_text("")


def damage_foreign_manifest(entry):
    (entry.folder / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    "damage", [damage_shorter, damage_longer, damage_absent, damage_empty_manifest, damage_foreign_manifest]
)
def test_damaged_entry_is_computed_again(entry, damage, caplog):
    written(entry)
    damage(entry)
    assert entry.read() is None
    assert "damaged embedding cache" in caplog.text
    assert entry.read() is None  # and not only the first who looks is told
    writer = entry.writer(DIM, timestamps=True)
    assert not (entry.folder / "manifest.json").exists()  # a reader must not see old and new files mixed
    assert append_missing(writer) == 5
    writer.finish(ORDER)
    check(entry.read())


# Resuming ---------------------------------------------------------------------------------------------------


def test_resumes_after_the_last_batch(entry):
    writer = entry.writer(DIM, timestamps=True)
    append(writer, BATCHES[0])
    writer.close()
    assert entry.read() is None
    writer = entry.writer(DIM, timestamps=True)
    assert writer.done == {("train", "a"): ClipRows("a", 0, 2), ("train", "c"): ClipRows("c", 2, 2)}
    assert append_missing(writer) == 3
    writer.finish(ORDER)
    check(entry.read())


def test_resumes_wherever_the_files_break_off(entry, tmp_path):
    """The journal torn at any byte, each data file torn anywhere, with rows that no line tells of."""
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.close()
    whole = tmp_path / "whole"
    shutil.copytree(entry.folder, whole)
    ends = np.cumsum([len(json.dumps([s, list(n), f])) + 1 for s, n, f in BATCHES])
    clips, rows = np.cumsum([2, 1, 2]), np.cumsum([4, 3, 2])
    journal_size = (whole / "partial" / "journal.jsonl").stat().st_size
    assert journal_size == ends[-1]
    resumed = set()
    for journal in sorted({*range(0, journal_size, 7), *ends.tolist(), *(ends - 1).tolist()}):
        for embedding_bytes in (0, 17, 4 * DIM * 4, 4 * DIM * 4 + 5, 7 * DIM * 4, 9 * DIM * 4, 9 * DIM * 4 + 7):
            for time_bytes in (4 * 8 + 3, 9 * 8):
                shutil.rmtree(entry.folder)
                shutil.copytree(whole, entry.folder)
                for name, size in (
                    ("journal.jsonl", journal),
                    (EMBEDDINGS, embedding_bytes),
                    (TIMESTAMPS, time_bytes),
                ):
                    os.truncate(entry.folder / "partial" / name, size)
                known = sum(
                    journal >= end and embedding_bytes >= r * DIM * 4 and time_bytes >= r * 8
                    for end, r in zip(ends, rows, strict=True)
                )
                writer = entry.writer(DIM, timestamps=True)
                assert len(writer.done) == (clips[known - 1] if known else 0)
                assert append_missing(writer) == 5 - (clips[known - 1] if known else 0)
                writer.finish(ORDER)
                check(entry.read())
                resumed.add(known)
    assert resumed == {0, 1, 2, 3}


def test_nothing_is_lost_where_the_files_are_whole(entry):
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.close()
    writer = entry.writer(DIM, timestamps=True)
    assert append_missing(writer) == 0
    writer.finish(ORDER)
    check(entry.read())


@pytest.mark.parametrize("step", range(6))
def test_killed_between_any_two_files_of_the_end(entry, step, monkeypatch):
    """Each os.replace in turn is the last thing the first run does."""
    replace, done = os.replace, []

    def dying(source, target):
        if len(done) == step:
            raise KeyboardInterrupt
        replace(source, target)
        done.append(target)

    monkeypatch.setattr(cache.os, "replace", dying)
    try:
        written(entry)
    except KeyboardInterrupt:
        assert entry.read() is None
    else:
        # key, journal, embeddings, timestamps, manifest: with a sixth step there is nothing left to kill
        assert step == 5
    monkeypatch.setattr(cache.os, "replace", replace)
    if entry.read() is None:
        written(entry)
    check(entry.read())


# Locks ------------------------------------------------------------------------------------------------------


def test_lock_waits_and_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    held, order = threading.Event(), []

    def first():
        with Entry(tmp_path, "task", "model", KEY).locked():
            held.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(5)
    with Entry(tmp_path, "task", "model", KEY).locked():
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert "another process is computing these embeddings; waiting for it" in caplog.text


def test_lock_of_another_entry_is_free(tmp_path):
    other = Entry(tmp_path, "task", "model", {**KEY, "audio": "x"})
    with Entry(tmp_path, "task", "model", KEY).locked(), other.locked():
        pass


def test_lock_is_released_after_an_error(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    entry = Entry(tmp_path, "task", "model", KEY)
    with pytest.raises(RuntimeError), entry.locked():
        raise RuntimeError
    with Entry(tmp_path, "task", "model", KEY).locked():
        pass
    assert "waiting" not in caplog.text
