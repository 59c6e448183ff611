"""Remembered digests of audio: what is trusted, what is read again, and a memory that is damaged or shared."""

import json
import os
import shutil
import threading
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import write_task, write_wav

from hear_exp.embeddings import audio_digests as digests_module
from hear_exp.embeddings.audio_digests import audio_digests
from hear_exp.embeddings.embed import clip_order
from hear_exp.files import file_digest
from hear_exp.tasks.audio import scan_clips
from hear_exp.tasks.folder import read_task


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A task's files, and a function that gives their digests and says how many files were read for it."""
    task = read_task(write_task(tmp_path / "task", clips=4, seconds=0.05))
    read = []
    monkeypatch.setattr(digests_module, "file_digest", lambda path: (read.append(path), file_digest(path))[1])

    def digests() -> tuple[list[str], int]:
        read.clear()
        files = scan_clips(task, clip_order(task), 8000)
        found = audio_digests(files, tmp_path / "digests", task)
        assert found == [file_digest(file.path) for file in files]
        return found, len(read)

    folder = tmp_path / "digests"
    return SimpleNamespace(digests=digests, audio=tmp_path / "task" / "8000", folder=folder, task=task)


def test_files_are_read_once(memory):
    first, read = memory.digests()
    assert read == 12
    assert memory.digests() == (first, 0)


def other_content(path):
    """A file of the same size with other content, made beside it."""
    content = bytearray(path.read_bytes())
    content[-10:] = bytes(b ^ 1 for b in content[-10:])
    other = path.with_name("other.wav")
    other.write_bytes(content)
    return other


def copy_with_times(other, path):
    """cp -p: the file's bytes are overwritten, its modification time is set."""
    times = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.unlink()


def rename_with_times(other, path):
    """rsync -t: another file takes its place."""
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [copy_with_times, rename_with_times])
def test_other_content_of_the_same_size_and_modification_time(memory, change):
    first, _ = memory.digests()
    path = memory.audio / "valid" / "valid_1.wav"
    before = path.stat()
    change(other_content(path), path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second, read = memory.digests()
    assert (second != first, read) == (True, 1)


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("a" * 64),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["train/train_0.wav", "x"]), inner),
        max_leaves=6,
    )
)
@example({"train/train_0.wav": 5})
@example({"train/train_0.wav": ["1 2"]})
@example({"train/train_0.wav": [["1 2"], "a" * 64]})
@example([["train/train_0.wav", "a"]])
@settings(max_examples=30, derandomize=True, deadline=None)
def test_any_json_in_the_memory(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("memory")
    (folder / "x.json").write_text(json.dumps(content))
    known = digests_module._read(folder / "x.json")
    assert all(isinstance(mark, str) and isinstance(value, str) for mark, value in known.values())


@pytest.mark.parametrize("damage", ["torn", "empty", "binary", "deep", "pipe", "folder"])
def test_a_damaged_memory_is_made_anew(memory, damage):
    memory.digests()
    (path,) = memory.folder.iterdir()
    content = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage == "folder":
        path.mkdir()
    else:
        damaged = {"torn": content[:100], "empty": b"", "binary": b"\xff\x00", "deep": b"[" * 100_000}
        path.write_bytes(damaged[damage])
    assert memory.digests()[1] == 12
    assert memory.digests()[1] == (12 if damage == "folder" else 0)  # nothing of ours: it stays, and costs time


def test_two_that_write_at_once_leave_a_whole_memory(memory):
    threads = [threading.Thread(target=memory.digests) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.suffix for path in memory.folder.iterdir()] == [".json"]
    assert memory.digests()[1] == 0


def test_a_cache_that_may_only_be_read(memory, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(memory.folder))

    caplog.set_level("INFO")
    monkeypatch.setattr(digests_module, "write_json", refuse)
    assert memory.digests()[1] == 12
    assert "the audio will be read again by the next run" in caplog.text


def test_a_changed_and_an_added_file_are_read_alone(memory):
    memory.digests()
    path = memory.audio / "test" / "test_2.wav"
    shutil.copy(path, path.with_name("copy.wav"))
    os.replace(path.with_name("copy.wav"), path)  # the same content: another inode
    write_wav(memory.audio / "train" / "train_3.wav", [0.1] * 400, 8000)
    assert memory.digests()[1] == 2
