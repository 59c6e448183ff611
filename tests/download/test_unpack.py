"""Archives that are made to do harm: bombs, floods, depths, headers that fill the memory; and any damage at all."""

import gzip
import tarfile

import pytest
from archive_server import member, pack_with
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hear_exp.download import unpack as module
from hear_exp.download.unpack import ContentError, unpack


@pytest.fixture
def refused(tmp_path):
    """refused(*members): the sentence that an archive of these ends with."""

    def run(*members, content=None):
        file = tmp_path / "a.tar.gz"
        file.write_bytes(content or pack_with(lambda tar: [tar.addfile(*each) for each in members]))
        with pytest.raises(ContentError) as caught:
            unpack(file, tmp_path / "out")
        return str(caught.value)

    return run


def test_a_bomb(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FREE_BYTES", 1 << 20)
    said = refused(member("hear/a.wav", bytes(5 << 20)))
    assert "unpack to more than 100 times as many (a bomb?); nothing of it was installed" in said
    assert not (tmp_path / "out/hear/a.wav").exists()


def test_a_bomb_of_many_members(refused, monkeypatch):
    monkeypatch.setattr(module, "FREE_BYTES", 1 << 20)
    assert "(a bomb?)" in refused(*(member(f"{i}.wav", bytes(1 << 19)) for i in range(20)))


def test_too_many_members(refused, monkeypatch):
    monkeypatch.setattr(module, "MOST_MEMBERS", 10)
    assert "it holds more than 10 files" in refused(*(member(str(i)) for i in range(11)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d/" * 16 + "a.wav", "lies 17 folders deep, at most 16"),
        ("n" * 256, "is too long"),
        ("/".join(["n" * 200] * 6), "is too long"),
        ("ä" * 128, "is too long"),
        ("a\nb.wav", r"'a\nb.wav' holds an unprintable character"),
        ("\x1b[2J.wav", "holds an unprintable character"),
        ("a\udcff.wav", "holds an unprintable character"),
    ],
)
def test_names(refused, name, message):
    assert message in refused(member(name, b"x"))


def header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_that_would_fill_the_memory(refused, kind):
    said = refused(content=gzip.compress(header(kind, 8 << 30) + bytes(1024)))
    assert "it holds a name or attributes of 8589934592 bytes; nothing of it was installed" in said


def test_a_file_with_holes(refused):
    info = tarfile.TarInfo("a.wav")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    buffer = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    buffer[483:495] = b"77777777777\0"  # 8 GiB, none of it in the archive
    buffer[148:156] = b" " * 8
    buffer[148:156] = b"%06o\0 " % sum(buffer[:512])
    assert "is a file with holes" in refused(content=gzip.compress(bytes(buffer) + bytes(1024)))


GOOD = gzip.decompress(
    pack_with(
        lambda tar: [
            tar.addfile(*member("hear/a.json", b"{}")),
            tar.addfile(*member("hear/" + "n" * 150, b"xyz")),
            tar.addfile(*member("hear/dir", type=tarfile.DIRTYPE)),
        ]
    )
)
MANY = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIELDS = st.sampled_from([0, 100, 108, 124, 136, 148, 156, 157, 257, 345, 512, 1024])


@pytest.mark.slow
@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(FIELDS, st.integers(0, 600), st.binary(min_size=1, max_size=12)), max_size=3), st.booleans())
@example([(124, 0, b"\xff" * 12)], True)  # a size below 0
@example([(124, 0, b"\x80" + b"\x7f" * 11)], True)
@example([(124, 0, b"77777777777\0")], True)
@example([(156, 0, b"x")], True)
@example([(156, 0, b"S")], True)
@example([(0, 0, b"../../evil\0")], True)
def test_any_damage_is_unpacked_or_a_sentence(tmp_path_factory, changes, mend):
    content = bytearray(GOOD)
    for field, shift, junk in changes:
        content[field + shift : field + shift + len(junk)] = junk
    if mend:  # the first header's checksum, so that more than that is looked at
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.tar.gz").write_bytes(gzip.compress(bytes(content)))
    try:
        unpack(folder / "a.tar.gz", folder / "in" / "out")
    except ContentError as error:
        assert str(folder / "a.tar.gz") in str(error)  # noqa: PT017
    assert {path.name for path in folder.iterdir()} == {"a.tar.gz", "in"}
    assert [path.name for path in (folder / "in").iterdir()] == ["out"]
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


@settings(MANY, max_examples=60)
@given(st.binary(max_size=80))
@example(b"BZh9" + bytes(40))
@example(b"\xfd7zXZ\0" + bytes(40))
@example(gzip.compress(GOOD)[:100])
@example(gzip.compress(GOOD)[:-8] + bytes(8))
def test_any_bytes_are_a_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "a").write_bytes(content)
    try:
        unpack(folder / "a", folder / "out")
    except ContentError:
        return
    # What ends between two members reads as whole here; that the task is whole is looked at later.
    assert {path.name for path in (folder / "out").iterdir()} <= {"hear"}
