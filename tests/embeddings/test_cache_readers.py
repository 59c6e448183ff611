"""Whatever stands in a cache entry's files, a run ends with the right embeddings: damage is computed again."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_cache import DIM, KEY, ORDER, append_missing, check, written

from hear_exp.embeddings.cache import EMBEDDINGS, TIMESTAMPS, Entry
from hear_exp.embeddings.checksums import checksum, read_sealed, write_sealed
from hear_exp.embeddings.journal import read_line
from hear_exp.embeddings.manifest import read_manifest
from hear_exp.errors import UserError

pytestmark = pytest.mark.slow

FEW = settings(max_examples=60, derandomize=True, deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
NASTY = st.sampled_from([-1, 0, 10**30, -(10**30), 1.5, 1e400, True, None, [], {}, "", "a", [[["x"]]], "\ud800"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished entry, and one that was killed after its last batch: not to be written to."""
    root = tmp_path_factory.mktemp("whole")
    entry = written(Entry(root / "finished", "task", "model", KEY))
    killed = Entry(root / "killed", "task", "model", KEY)
    writer = killed.writer(DIM, timestamps=True)
    append_missing(writer)
    writer.close()
    return entry, killed


def copied(entry: Entry, folder) -> Entry:
    shutil.rmtree(folder, ignore_errors=True)
    copy = Entry(folder, "task", "model", KEY)
    shutil.copytree(entry.folder, copy.folder)
    return copy


def finished(entry: Entry, forged: bool = False) -> None:
    """What a run does with an entry that it finds; ``forged``: with checksums that are right, and so believed."""
    if entry.read() is None:
        with entry.locked():
            writer = entry.writer(DIM, timestamps=True)
            append_missing(writer)
            writer.finish(ORDER)
            writer.close()
    embeddings = entry.read_back()
    if not forged:
        check(embeddings)
    assert len(embeddings.array()) == sum(len(embeddings.split_range(split)) for split in embeddings.splits)


def paths(content, prefix=()):
    """Where the parts of JSON content are."""
    yield prefix
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in items:
        yield from paths(value, (*prefix, name))


def replaced(content, path, value):
    """The content with another value at a path."""
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def write_any(path, content) -> None:
    """A manifest of this content with the right checksum, where it can have one."""
    try:
        write_sealed(path, content)
    except (AttributeError, TypeError, ValueError):
        path.write_text(json.dumps(content))


# The manifest -----------------------------------------------------------------------------------------------


@given(data=st.data())
@FEW
def test_a_manifest_with_something_else_in_a_place(whole, tmp_path_factory, data):
    entry = copied(whole[0], tmp_path_factory.getbasetemp() / "place")
    manifest = entry.folder / "manifest.json"
    content = read_sealed(manifest)
    place = data.draw(st.sampled_from(sorted(paths(content), key=str)))
    write_any(manifest, replaced(content, place, data.draw(NASTY | JSON)))
    finished(entry, forged=True)


@given(content=JSON)
@example(10**30)
@example([])
@example({"key": 1})
@FEW
def test_any_json_in_place_of_a_manifest(whole, tmp_path_factory, content):
    entry = copied(whole[0], tmp_path_factory.getbasetemp() / "json")
    write_any(entry.folder / "manifest.json", content)
    with pytest.raises(UserError):
        read_manifest(entry.folder / "manifest.json", entry.digest)
    finished(entry)


@given(content=st.binary(max_size=30))
@example(b"")
@example(b"\xff\xfe")
@example(b"[" * 100_000)
@example(b'{"a":' * 2000 + b"1" + b"}" * 2000)
@example(b'{"rows": NaN}')
@example(b'{"rows": 1e400}')
@example(b"9" * 5000)
@FEW
def test_any_bytes_in_place_of_a_manifest(whole, tmp_path_factory, content):
    entry = copied(whole[0], tmp_path_factory.getbasetemp() / "bytes")
    (entry.folder / "manifest.json").write_bytes(content)
    finished(entry)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("dim",), -1, "expected a whole number above 0, got '-1'"),
        (("dim",), True, "expected a whole number above 0"),
        (("rows",), 10**30, "clips of 9 rows, but rows is"),
        (("key",), "0123456789ab", "it belongs to the key '0123456789ab'"),
        (("splits",), [], "expected a dict"),
        (("splits",), {}, "clips of 0 rows"),
        (("splits", "test"), [], "the split test has no clips"),
        (("splits", "train", 0), ["a", 0], "expected a list of 3"),
        (("splits", "train", 1, 1), 1, "the rows of 'b' begin at 1, expected 2"),
        (("splits", "train", 1, 2), -3, "expected a whole number above 0, got '-3'"),
        (("checksums",), {}, "'embeddings.f32' is missing"),
        (("doubts",), ["a", 1], "expected a str, got '1'"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(whole, tmp_path, caplog, place, value, words):
    entry = copied(whole[0], tmp_path)
    path = entry.folder / "manifest.json"
    write_sealed(path, replaced(read_sealed(path), place, value))
    assert entry.read() is None
    assert f"damaged embedding cache: {path}: " in caplog.text
    assert words in caplog.text
    assert "computing it again" in caplog.text


# The journal ------------------------------------------------------------------------------------------------


@given(data=st.data())
@FEW
def test_a_journal_with_something_else_in_a_line(whole, tmp_path_factory, data):
    entry = copied(whole[1], tmp_path_factory.getbasetemp() / "line")
    journal = entry.folder / "partial" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    content = json.loads(lines[at][17:])
    place = data.draw(st.sampled_from(sorted(paths(content), key=str)))
    text = json.dumps(replaced(content, place, data.draw(NASTY | JSON))).encode()
    sealed = data.draw(st.booleans())
    lines[at] = (checksum(text).encode() if sealed else lines[at][:16]) + b" " + text + b"\n"
    journal.write_bytes(b"".join(lines))
    finished(entry, forged=sealed)


@given(data=st.data())
@FEW
def test_a_journal_with_lines_missing_twice_or_torn(whole, tmp_path_factory, data):
    entry = copied(whole[1], tmp_path_factory.getbasetemp() / "torn")
    journal = entry.folder / "partial" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    chosen = data.draw(st.lists(st.sampled_from([*lines, b"\n", b"\r", b"\xff\n", b"[" * 5000 + b"\n"]), max_size=5))
    content = b"".join(chosen)
    journal.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    finished(entry)


@given(content=JSON)
@example([["train"], ["a"], 2, {}])
@example(["train", "ab", 2, {EMBEDDINGS: ["x", "y"]}])
@example(["train", ["a", "a"], 2, {EMBEDDINGS: ["x", "y"]}])
@example(["train", ["a"], 10**30, {EMBEDDINGS: "x"}])
@example(["train", ["a"], -1, {EMBEDDINGS: ["x"]}])
@example(["train", [], 1, {EMBEDDINGS: []}])
@FEW
def test_any_json_in_a_line(content):
    text = json.dumps(content).encode()
    batch = read_line(checksum(text).encode() + b" " + text + b"\n", [EMBEDDINGS])
    assert batch is None or (batch.frames > 0 and len(batch.names) == len(batch.checksums[EMBEDDINGS]) > 0)


def test_a_clip_that_the_task_does_not_have(whole, tmp_path):
    """A batch of another run's: its rows are left out, and no clip is computed again."""
    entry = copied(whole[1], tmp_path)
    writer = entry.writer(DIM, timestamps=True)
    writer.append("train", ["z"], np.ones((1, 2, DIM), dtype=np.float32), np.array([[1.0, 2.0]]))
    assert append_missing(writer) == 0
    writer.finish(ORDER)
    check(entry.read())


# Other things under a file's name ---------------------------------------------------------------------------

FILES = ["manifest.json", "key.json", "versions.json", EMBEDDINGS, TIMESTAMPS]
PARTS = ["journal.jsonl", "doubts.json", "manifest.json", EMBEDDINGS, TIMESTAMPS, f"{EMBEDDINGS}.ordered"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "empty"])
@pytest.mark.parametrize("name", [*FILES, *(f"partial/{part}" for part in PARTS), "partial"])
def test_something_else_under_a_files_name(whole, tmp_path, kind, name):
    entry = copied(whole[1 if name.startswith("partial") else 0], tmp_path)
    path = entry.folder / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "inner").mkdir(parents=True)
    elif kind == "empty":
        path.touch()
    else:
        path.symlink_to(tmp_path / "nothing")
    finished(entry)
    entry.tell_versions()
