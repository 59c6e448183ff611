"""Whatever stands in tables, label files, options and recordings: rows, or a sentence, and never a wait."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recorded import RATE, record, table, tone

from hear_exp.errors import UserError
from hear_exp.prepare.clip_audio import Header, cut_recordings, read_headers, write_clip
from hear_exp.prepare.columns import choose_columns
from hear_exp.prepare.label_files import read_label_file
from hear_exp.prepare.options import Options, options_from_config
from hear_exp.prepare.recordings import Recording
from hear_exp.prepare.rows import Skips, read_rows
from hear_exp.prepare.table import read_table

FEW = settings(
    max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = st.lists(
    st.lists(
        st.sampled_from(["path", "onset", "offset", "label", "a.wav", "0.5", "-1", "nan", "", '"', "\r", "x\ny"])
    ).map("\t".join),
    max_size=6,
).map("\n".join)


def sentence(call, *arguments):
    """What the call gives; None where it ends with a sentence. Any other error fails the test."""
    try:
        return call(*arguments)
    except UserError:
        return None


# Tables ---------------------------------------------------------------------------------------------------


@FEW
@given(st.one_of(st.binary(max_size=60), LINES.map(str.encode)))
@example(b"path,label\na.wav,\0\n")
@example(b"\xff\xfep\0a\0t\0h\0")  # UTF-16
@example(b"path,label\na.wav,caf\xe9\n")  # Latin-1
@example(b'path,label\na.wav,"' + b"x" * 200_000 + b'"\n')
@example(b'path,label\na.wav,"open\nb.wav,c\n')
@example(b"path,label\ra.wav,x\rb.wav,y\r")
@example(b"\xef\xbb\xbfpath,label\na.wav,x\n")
@example(b"a.wav\t1\t2\tx\nb.wav\t1\t2\n")
@example(b"path,label\na.wav,\x1b[2J\n")
def test_any_table_gives_rows_or_a_sentence(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    found = sentence(read_table, path)
    if found is not None:
        assert found.lines
        assert all(set(cells) == set(found.header) for _, cells in found.lines)
    options = Options(out="o", table=(str(path),), default_split="train")
    sentence(read_rows, options, Skips(False, lambda text: None), lambda text: None)


@pytest.mark.parametrize(
    ("content", "rows"),
    [(b"\xef\xbb\xbfpath,label\na.wav,x\n", 1), (b"path,label\ra.wav,x\rb.wav,y\r", 2), (b"path;label\r\na;b\r\n", 1)],
)
def test_tables_of_other_systems(tmp_path, content, rows):
    (tmp_path / "t.csv").write_bytes(content)
    found = read_table(tmp_path / "t.csv")
    assert (found.header, len(found.lines)) == (("path", "label"), rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,label\na.wav,\0\n", "holds a zero byte"),
        (b"path,label\na.wav,caf\xe9\n", "t.csv: not UTF-8 text"),
        (b'path,label\na.wav,"' + b"x" * 200_000, "line 2: not CSV: field larger than field limit .*quote left open"),
        (b"path,label\na.wav,a\x1b[2J\n", r"line 2: the label 'a\\x1b\[2J' holds an unprintable character"),
    ],
)
def test_tables_that_are_none(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    options = Options(out="o", table=(str(tmp_path / "t.csv"),))
    with pytest.raises(UserError, match=message):
        read_rows(options, Skips(False, print), print)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [read_table, read_label_file])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        read(tmp_path / "pipe")


@FEW
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5, unique=True))
@example(["start_ms", "end_ms"])
@example(["_ms", "ms", "s", "(s)"])
@example(["Path", "PATH", "Label"])
def test_any_header_gives_columns_or_a_sentence(header):
    columns = sentence(choose_columns, "t.csv", header, Options(out="o", table=("t.csv",)), ())
    if columns is not None:
        assert {columns.path, columns.label} <= set(header)
        assert set(columns.ignored) < set(header)


# Label files ----------------------------------------------------------------------------------------------


@FEW
@given(st.one_of(st.binary(max_size=40), LINES.map(str.encode)))
@example(b"1e999\t2e999\tx\n")
@example(b"1\t2\tx\n\\\t1\t2\n")
@example(b"1..5\t2\tx\n")
@example(b"\xef\xbb\xbf0.5\t1\tx\n")
def test_any_label_file_gives_labels_or_a_sentence(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    for label in sentence(read_label_file, path) or []:
        assert 0 <= label.start_s <= label.end_s < float("inf")
        assert label.text


# Options --------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))


@FEW
@given(st.sampled_from(sorted(Options.__dataclass_fields__)), VALUES)
@example("label_files", 1)
@example("length", float("nan"))
@example("length", float("inf"))
@example("length", 1e300)
@example("times", True)
@example("fractions", [1, 2])
@example("version", ["a"])
@example("kind", [1])
def test_any_value_of_an_option_is_taken_or_a_sentence(name, value):
    defaults = {field: each.default for field, each in Options.__dataclass_fields__.items()}
    sentence(options_from_config, defaults | {"out": "o", "folder": "rec"} | {name: value})


# Recordings -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return {suffix: record(folder / f"a{suffix}", tone(0.2)).read_bytes() for suffix in (".wav", ".flac", ".ogg")}


@FEW
@given(st.sampled_from([".wav", ".flac", ".ogg"]), st.integers(0, 200), st.binary(min_size=1, max_size=8))
@example(".wav", 24, b"\0\0\0\0")  # a sample rate of 0
@example(".wav", 24, b"\xff\xff\xff\x7f")
@example(".wav", 40, b"\xff\xff\xff\xff")  # more samples than there are
@example(".flac", 21, b"\xff\xff\xff\xff\xff")  # 2^36 samples
@example(".flac", 4, b"\xff")
def test_any_recording_is_read_or_a_sentence(tmp_path, sound, suffix, position, junk):
    content = bytearray(sound[suffix])
    content[position : position + len(junk)] = junk
    path = tmp_path / f"a{suffix}"
    path.write_bytes(bytes(content))
    header = read_headers([path])[path]
    if isinstance(header, Header):
        assert header.frames > 0
        (cut,) = cut_recordings([Recording("a", "a", path)], {path: header}, Skips(False, print), print)
        sentence(write_clip, cut, {RATE: tmp_path / "out.wav"}, 0.2, False)


@pytest.mark.timeout(20)
def test_a_recording_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    path = table(tmp_path / "t.csv", "path,label", "a.wav,x")
    with pytest.raises(UserError, match="1 of 1 recordings are not there"):
        read_rows(Options(out="o", table=(path,)), Skips(False, print), print)
    assert Path(path).exists()
