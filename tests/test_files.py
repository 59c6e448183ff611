import errno
import json
import os

import pytest

from hear_exp.errors import UserError
from hear_exp.files import (
    file_digest,
    json_digest,
    locked,
    naming,
    read_json,
    read_text,
    remove_stale,
    replacing,
    temporary_name,
    write_json,
)


def test_a_written_file_is_whole_and_leaves_nothing_beside_it(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert read_json(tmp_path / "a.json") == {"b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_an_error_while_writing_keeps_the_old_file_and_removes_the_new_one(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError), replacing(tmp_path / "a.json") as file:
        file.writelines(["half", 0])
    assert read_json(tmp_path / "a.json") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_named(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(OSError, match=r"a\.json") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)


def test_an_error_that_has_a_file_keeps_it(tmp_path):
    with pytest.raises(OSError, match="other"), naming(tmp_path / "a"):
        raise OSError(errno.EIO, "Input/output error", "other")


def test_temporary_names_differ_within_a_process(tmp_path):
    assert temporary_name(tmp_path / "a") != temporary_name(tmp_path / "a")
    assert len(temporary_name(tmp_path / ("n" * 255)).name.encode()) < 255


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'[{"x.wav": 1, "y.wav": 2, "x.wav": 3}]', "the name 'x.wav' comes twice in one object"),
        (b"{", "not valid JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "not valid JSON"),
        (b'"\\ud800"', "surrogate"),
    ],
)
def test_what_is_not_json_is_a_sentence(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json(path)


def test_a_missing_file_a_folder_a_pipe_and_a_huge_file_are_sentences(tmp_path):
    with pytest.raises(UserError, match=r"file not found: .*none \(a hint\)"):
        read_text(tmp_path / "none", "a hint")
    with pytest.raises(UserError, match="it is a folder"):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        read_text(tmp_path / "pipe")
    (tmp_path / "big").write_text("12345")
    with pytest.raises(UserError, match="5 bytes, at most 4"):
        read_text(tmp_path / "big", limit=4)


def test_only_old_temporary_files_of_ours_are_removed(tmp_path):
    old, young = temporary_name(tmp_path / "a"), temporary_name(tmp_path / "b")
    folder, other = temporary_name(tmp_path / "c"), tmp_path / ".mine.tmp"
    folder.mkdir()
    for path in (old, young, other):
        path.touch()
    for path in (old, folder, other):
        os.utime(path, (0, 0))
    assert sorted(remove_stale(tmp_path)) == sorted([old, folder])
    assert young.exists()
    assert other.exists()


def test_digests_are_of_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert json_digest({"b": 1, "a": 2}) == json_digest(json.loads('{"a": 2, "b": 1}'))


def test_a_lock_is_free_again_after_its_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "new" / "lock", "waiting"):
            pass
