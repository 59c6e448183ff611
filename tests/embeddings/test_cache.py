"""The embedding cache: keys, resuming after a kill at any point, order of rows, damage, locks."""

import json
import logging
import os
import shutil
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hear_exp import files
from hear_exp.embeddings import cache, checksums
from hear_exp.embeddings.cache import EMBEDDINGS, TIMESTAMPS, ClipRows, Embeddings, Entry, key_digest
from hear_exp.errors import UserError

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
    monkeypatch.setattr(os, "fsync", lambda file: None)  # slow, and only matters when the power fails
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
    monkeypatch.setattr(cache.Writer, "_ordered", None)
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


@pytest.mark.slow
def test_resumes_wherever_the_files_break_off(entry, tmp_path):
    """The journal torn at any byte, each data file torn anywhere, with rows that no line tells of."""
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.close()
    whole = tmp_path / "whole"
    shutil.copytree(entry.folder, whole)
    ends = np.cumsum([len(line) for line in (whole / "partial" / "journal.jsonl").open("rb")])
    clips, rows = np.cumsum([2, 1, 2]), np.cumsum([4, 3, 2])
    journal_size = (whole / "partial" / "journal.jsonl").stat().st_size
    assert journal_size == ends[-1]
    resumed = set()
    for journal in sorted({*range(0, journal_size, 47), *ends.tolist(), *(ends - 1).tolist()}):
        for embedding_bytes in (17, 4 * DIM * 4, 4 * DIM * 4 + 5, 7 * DIM * 4, 9 * DIM * 4, 9 * DIM * 4 + 7):
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


class Killed(KeyboardInterrupt):
    """The end of a process, as a test can have it."""


def dying_after(steps: int, function):
    """``function``, which kills at its first call after so many."""
    count = iter(range(steps))

    def call(*args, **kwargs):
        if next(count, None) is None:
            raise Killed
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("function", ["replace", "fsync", "unlink", "rmtree"])
def test_killed_at_any_step_of_the_end_nothing_is_computed_again(tmp_path, monkeypatch, function, in_order):
    """Whatever the end writes, renames or removes is in turn the last thing that the first run does."""
    order = ORDER if in_order is False else tuple((s, n) for s, names, _ in BATCHES for n in names)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    owner = shutil if function == "rmtree" else os
    original, killed, expected = getattr(owner, function), 0, None
    for step in range(20):
        entry = Entry(tmp_path / str(step), "task", "model", KEY)
        writer = entry.writer(DIM, timestamps=True)
        writer.note_doubts(["it drifts"])
        append_missing(writer)
        monkeypatch.setattr(owner, function, dying_after(step, original))
        try:
            writer.finish(order)
        except Killed:
            killed += 1
        else:
            break
        finally:
            monkeypatch.setattr(owner, function, original)
        if entry.read() is None:
            writer = entry.writer(DIM, timestamps=True)
            assert append_missing(writer) == 0
            assert writer.doubts == ("it drifts",)
            writer.finish(order)
        found = {path.name: path.read_bytes() for path in entry.folder.iterdir() if path.is_file()}
        expected = expected or found
        assert found == expected
        assert entry.read().doubts == ("it drifts",)
    assert killed >= {"replace": 4, "fsync": 1, "unlink": 0, "rmtree": 1}[function]
    assert killed < 20
    assert expected is None or set(expected) == {EMBEDDINGS, TIMESTAMPS, "manifest.json", "key.json", "versions.json"}


def test_an_end_that_was_begun_with_another_shape_is_not_gone_on_with(entry, monkeypatch, caplog):
    """A model whose dimension changes without its key, killed before the entry was whole."""
    replace, writer = os.replace, entry.writer(DIM, timestamps=True)
    append_missing(writer)
    monkeypatch.setattr(os, "replace", dying_after(4, replace))
    with pytest.raises(Killed):
        writer.finish(ORDER)
    monkeypatch.setattr(os, "replace", replace)
    assert (entry.folder / "partial" / "manifest.json").exists()
    assert entry.read() is None
    other = entry.writer(DIM + 1, timestamps=True)
    assert "embeddings of another shape; finishing it anew" in caplog.text
    assert other.done == {}


def test_killed_twice_at_the_end(entry, monkeypatch):
    """The second run, which only has to rename, is killed between the two data files as well."""
    replace = os.replace
    for _ in range(3):
        writer = entry.writer(DIM, timestamps=True)
        append_missing(writer)
        monkeypatch.setattr(os, "replace", dying_after(1, replace))
        with pytest.raises(Killed):
            writer.finish(ORDER)
        monkeypatch.setattr(os, "replace", replace)
    writer = entry.writer(DIM, timestamps=True)
    assert append_missing(writer) == 0
    writer.finish(ORDER)
    check(entry.read())


@pytest.mark.parametrize("function", ["write", "flush", "fsync"])
def test_killed_at_any_step_of_a_batch_only_that_batch_is_computed_again(entry, monkeypatch, function):
    computed_again = []
    for step in range(3):
        shutil.rmtree(entry.folder, ignore_errors=True)
        writer = entry.writer(DIM, timestamps=True)
        append(writer, BATCHES[0])
        if function == "fsync":
            monkeypatch.setattr(os, "fsync", dying_after(step, lambda file: None))
        else:
            files = [*writer._files.values(), writer._journal]
            monkeypatch.setattr(writer, "_files", dict(zip(writer._files, files, strict=False)))
            dying = SimpleNamespace(
                **{name: getattr(files[step], name) for name in ("write", "flush", "close", "fileno")}
            )
            setattr(dying, function, dying_after(0, None))
            if step == 2:
                writer._journal = dying
            else:
                writer._files[list(writer._files)[step]] = dying
        try:
            with pytest.raises(Killed):
                append(writer, BATCHES[1])
        except pytest.fail.Exception:
            assert (function, step) == ("fsync", 2)  # there are two data files to wait for
        for file in (*writer._files.values(), writer._journal):
            file.close()  # what the system does, which may still write what Python held
        monkeypatch.setattr(os, "fsync", lambda file: None)
        writer = entry.writer(DIM, timestamps=True)
        computed_again.append(append_missing(writer))
        writer.finish(ORDER)
        check(entry.read())
    assert set(computed_again) <= {2, 3}  # 5 clips, of which the first batch holds 2 and the second 1


# Checksums --------------------------------------------------------------------------------------------------


def flip(path, at: int) -> None:
    """Turn one bit of a file, and leave its size and times as they are."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", [EMBEDDINGS, TIMESTAMPS, "manifest.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_a_flipped_bit_is_found_named_and_computed_again(entry, caplog, name, place):
    written(entry)
    assert entry.read() is not None
    path = entry.folder / name
    flip(path, int(path.stat().st_size * place))
    assert entry.read() is None
    (record,) = [r for r in caplog.records if "damaged embedding cache" in r.getMessage()]
    assert str(path) in record.getMessage()
    assert "computing it again" in record.getMessage()
    check(written(entry).read())


def test_a_zeroed_file_is_found(entry, caplog):
    """Its size is right: what a file system leaves after a power cut."""
    written(entry)
    path = entry.folder / EMBEDDINGS
    path.write_bytes(bytes(path.stat().st_size))
    assert entry.read() is None
    assert f"{path} does not match its checksum" in caplog.text


def test_a_file_is_verified_once_a_process(entry, monkeypatch):
    written(entry)
    assert entry.read() is not None
    monkeypatch.setattr(checksums, "clip_checksums", None)
    check(entry.read())


def test_an_entry_without_checksums_is_computed_again(entry, caplog):
    """As earlier versions wrote them: nothing tells whether the bytes are still those."""
    written(entry)
    path = entry.folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["checksum"], content["checksums"]
    path.write_text(json.dumps(content))
    assert entry.read() is None
    assert "it has no checksum (earlier versions wrote none); computing it again" in caplog.text


def test_a_flipped_bit_in_a_batch_of_a_killed_run(entry, caplog):
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.close()
    path = entry.folder / "partial" / EMBEDDINGS
    flip(path, 5 * DIM * 4)  # in the second batch
    writer = entry.writer(DIM, timestamps=True)
    assert f"{path} does not match its checksums; computing the last 2 of 3 batches again" in caplog.text
    assert append_missing(writer) == 3
    writer.finish(ORDER)
    check(entry.read())


def test_a_flipped_bit_in_the_journal(entry, caplog):
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.close()
    journal = entry.folder / "partial" / "journal.jsonl"
    flip(journal, journal.read_bytes().index(b'"b"') + 1)  # another clip's name
    writer = entry.writer(DIM, timestamps=True)
    assert "a damaged line; computing the last 2 of 3 batches again" in caplog.text
    assert append_missing(writer) == 3
    writer.finish(ORDER)
    check(entry.read())


@pytest.mark.parametrize("name", [EMBEDDINGS, TIMESTAMPS, "manifest.json"])
def test_damage_between_a_kill_at_the_end_and_the_next_run(entry, monkeypatch, caplog, name):
    replace = os.replace
    writer = entry.writer(DIM, timestamps=True)
    append_missing(writer)
    monkeypatch.setattr(os, "replace", dying_after(4, replace))  # two in order, the manifest to be, one data file
    with pytest.raises(Killed):
        writer.finish(ORDER)
    monkeypatch.setattr(os, "replace", replace)
    places = [entry.folder / name, entry.folder / "partial" / f"{name}.ordered", entry.folder / "partial" / name]
    flip(next(path for path in places if path.exists()), 3)
    writer = entry.writer(DIM, timestamps=True)
    assert "finishing it anew" in caplog.text
    assert append_missing(writer) == 0  # the rows as they were computed are still there
    writer.finish(ORDER)
    check(entry.read())


def test_rows_that_do_not_read_back(entry):
    written(entry)
    flip(entry.folder / EMBEDDINGS, 7)
    with pytest.raises(UserError, match="do not read back as they were written"):
        entry.read_back()


# Versions beside the key ------------------------------------------------------------------------------------


def test_another_version_of_a_package_is_told_in_a_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    written(Entry(tmp_path, "task", "model", KEY, {"torch": "2.12.0", "numpy": "2.4.6"}))
    later = Entry(tmp_path, "task", "model", KEY, {"torch": "2.13.0", "numpy": "2.4.6", "soxr": "1.1.0"})
    check(later.read())
    later.tell_versions()
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"the embeddings in {later.folder} were computed with torch 2.12.0 (now 2.13.0);" in line
    assert "numpy" not in line
    assert "soxr" not in line


@pytest.mark.parametrize("content", ["[]", '{"torch": 1}', "{", '"torch"', "[" * 100_000])
def test_damaged_versions_are_nobodys_trouble(tmp_path, caplog, content):
    caplog.set_level(logging.INFO)
    entry = written(Entry(tmp_path, "task", "model", KEY, {"torch": "2.12.0"}))
    (entry.folder / "versions.json").write_text(content)
    entry.tell_versions()
    check(entry.read())
    assert not caplog.records


# A full disk ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's device that is always full")
@pytest.mark.parametrize("name", [EMBEDDINGS, TIMESTAMPS, "journal.jsonl"])
def test_a_full_disk_names_the_file_and_loses_no_finished_batch(entry, name):
    writer = entry.writer(DIM, timestamps=True)
    append(writer, BATCHES[0])
    full = open("/dev/full", "ab")  # noqa: SIM115 - the writer closes it
    if name == "journal.jsonl":
        writer._journal = full
    else:
        writer._files[name] = full
    with pytest.raises(OSError, match="No space left on device") as caught:
        append(writer, BATCHES[1])
    assert caught.value.filename == str(entry.folder / "partial" / name)
    writer.close()  # which would fail again
    writer = entry.writer(DIM, timestamps=True)
    assert append_missing(writer) == 3
    writer.finish(ORDER)
    check(entry.read())


# Leftovers --------------------------------------------------------------------------------------------------


def test_what_killed_processes_left_is_collected(entry):
    entry.folder.mkdir(parents=True)
    left = [files.temporary_name(entry.folder / name) for name in ("manifest.json", "key.json")]
    for path, age in zip(left, (8, 1), strict=True):
        path.write_text("half")
        os.utime(path, (time.time() - age * 24 * 3600,) * 2)
    written(entry)
    assert [path.exists() for path in left] == [False, True]  # the other one may be somebody's


def test_a_lock_file_of_a_dead_process_is_no_lock(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    entry = Entry(tmp_path, "task", "model", KEY)
    lock = entry.folder.with_name(f".{entry.folder.name}.lock")
    lock.parent.mkdir(parents=True)
    lock.write_text("12345")
    with entry.locked():
        pass
    assert "waiting" not in caplog.text


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
