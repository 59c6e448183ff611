"""labelvocabulary.csv: any bytes are labels or a sentence."""

import pytest
from hostile import answer, damaged, few
from hypothesis import example, given
from hypothesis import strategies as st

from hear_exp.errors import UserError
from hear_exp.tasks.vocabulary import read_vocabulary

SEEDS = [
    b"idx,label\n0,cat\n1,dog\n2,7\n",
    b'\xef\xbb\xbfidx,label\r\n1,"a, ""b"""\r\n0,"two\r\nlines"\r\n',
    "label,idx,more\né\x1b[2J,0,x\n".encode(),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("vocabulary") / "labelvocabulary.csv"


@few
@given(damaged(SEEDS) | st.binary(max_size=40))
@example(b"idx,label\n0,a\0b\n")  # csv.Error in Python 3.10
@example(b"idx,label\n0," + b"x" * 140_000)  # csv.Error: field larger than field limit
@example(b"idx,label\n" + b"9" * 5000 + b",a\n")
@example(b"idx,label\n999999999999999999999,a\n0,b\n")
@example(b"idx,label\n0,a\n0,b\n")
@example(b'idx,label\n0,"a')
@example(b"idx,idx,label\n0,0,a\n")
def test_any_bytes_are_labels_or_a_sentence(path, content):
    path.write_bytes(content)
    labels = answer(lambda: read_vocabulary(path))
    if isinstance(labels, tuple):
        assert labels
        assert len(set(labels)) == len(labels)
        assert all(type(label) is str for label in labels)
    else:
        assert str(path) in labels


def test_line_ends_and_a_byte_order_mark_are_no_part_of_labels(path):
    path.write_bytes(SEEDS[1])
    assert read_vocabulary(path) == ("two\r\nlines", 'a, "b"')
    path.write_bytes(b"idx,label\r\n0,a\r\n1,b\r\n")
    assert read_vocabulary(path) == ("a", "b")


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "labelvocabulary.csv")
    with pytest.raises(UserError, match="it is not a regular file"):
        read_vocabulary(tmp_path / "labelvocabulary.csv")
