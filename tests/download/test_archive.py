"""Unpacking trusts nothing: what leads outside, is no plain file, is broken or is no whole task leaves no trace."""

import errno
import shutil
import stat
import tarfile
from types import SimpleNamespace

import pytest
from archive_server import member, pack, pack_with
from tiny import write_task

from hear_exp.download import archive as module
from hear_exp.download.archive import check_space, check_whole, human_size, install, md5_of, parse_md5
from hear_exp.download.unpack import StorageError, unpack
from hear_exp.errors import UserError
from hear_exp.files import temporary_name

HEX = "d41d8cd98f00b204e9800998ecf8427e"  # of nothing


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> bytes:
    """A whole task of six clips."""
    return pack(write_task(tmp_path_factory.mktemp("source") / "tiny-v1-full", clips=2))


@pytest.fixture
def file(tmp_path, packed):
    path = tmp_path / "tiny.tar.gz"
    path.write_bytes(packed)
    return path


def install_in(folder, file):
    return install(file, folder, lambda name: folder / name)


def files_under(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# What is good ------------------------------------------------------------------------------------------------


def test_install(tmp_path, file):
    tasks, positions = tmp_path / "tasks", []
    task = install(file, tasks, lambda name: tasks / name, positions.append)
    assert task.folder == tasks / "tiny-v1-full"
    assert task.name == "tiny"
    assert files_under(tasks)[:2] == ["tiny-v1-full/8000/test/test_0.wav", "tiny-v1-full/8000/test/test_1.wav"]
    assert positions == sorted(positions)
    assert positions[-1] == file.stat().st_size
    assert [path.name for path in tasks.iterdir()] == ["tiny-v1-full"]


def test_install_under_another_name_and_prefix(tmp_path, packed):
    source = write_task(tmp_path / "any", clips=1)
    (tmp_path / "a.tar.gz").write_bytes(pack(source, "x", prefix="some/where"))
    task = install(tmp_path / "a.tar.gz", tmp_path / "tasks", lambda name: tmp_path / "tasks" / f"mine-{name}")
    assert task.folder == tmp_path / "tasks/mine-x"


def test_a_task_that_is_there_stays(tmp_path, file):
    tasks = tmp_path / "tasks"
    (install_in(tasks, file).folder / "mine.txt").write_text("mine")
    assert install_in(tasks, file).name == "tiny"
    assert (tasks / "tiny-v1-full/mine.txt").read_text() == "mine"
    (tasks / "tiny-v1-full/train.json").unlink()
    with pytest.raises(UserError, match=r"tiny-v1-full is there but not whole: .*train\.json.* Remove it"):
        install_in(tasks, file)


def test_permissions_are_plain(tmp_path):
    """Set-user-ID, owners and unreadable files of the packer's machine do not come along."""
    content = pack_with(
        lambda tar: [tar.addfile(*member("a", b"x", mode=0o4777, uid=12345)), tar.addfile(*member("b", mode=0))]
    )
    (tmp_path / "a.tar.gz").write_bytes(content)
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out/a").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)
    assert (tmp_path / "out/b").read_bytes() == b""


def test_leftovers_of_a_killed_process_are_removed(tmp_path, file):
    left = temporary_name(tmp_path / "tasks" / "tiny.tar.gz")
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    install_in(tmp_path / "tasks", file)
    assert [path.name for path in (tmp_path / "tasks").iterdir()] == ["tiny-v1-full"]


# What is evil ------------------------------------------------------------------------------------------------

LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
HARD = {"type": tarfile.LNKTYPE, "linkname": "hear-2021.0.6/tasks/tiny-v1-full/train.json"}
EVIL = {
    "climbs": ([member("../evil.txt", b"x")], "outside"),
    "climbs from within": ([member("hear-2021.0.6/../../evil.txt", b"x")], "outside"),
    "absolute": ([member("/tmp/hear_exp_evil.txt", b"x")], "outside"),
    "backslashes": ([member("..\\evil.txt", b"x")], "outside"),
    "drive": ([member("C:evil.txt", b"x")], "outside"),
    "symlink": ([member("link", **LINK)], "'link' is a link"),
    "through a symlink": ([member("link", **LINK), member("link/evil.txt", b"x")], "is a link"),
    "hard link": ([member("hard", **HARD)], "'hard' is a link"),
    "hard link outside": ([member("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "is a link"),
    "character device": ([member("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "neither a file nor a folder"),
    "block device": ([member("dev", type=tarfile.BLKTYPE)], "neither a file nor a folder"),
    "pipe": ([member("pipe", type=tarfile.FIFOTYPE)], "neither a file nor a folder"),
    "twice": ([member("a", b"1"), member("a", b"2")], "it holds 'a' twice"),
    "file as folder": ([member("a", b"1"), member("a/b", b"2")], "it holds 'a/b' twice"),
    "nothing as a name": ([member("", b"1")], "twice"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_hostile_archives_leave_nothing(tmp_path, packed, kind):
    """The hostile member follows a whole task, which does not get in either."""
    members, reason = EVIL[kind]
    source = write_task(tmp_path / "source/tiny-v1-full", clips=1)

    def add(tar):
        tar.add(source, "hear-2021.0.6/tasks/tiny-v1-full")
        for info, content in members:
            content.seek(0)
            tar.addfile(info, content)

    file = tmp_path / "evil.tar.gz"
    file.write_bytes(pack_with(add))
    inside = tmp_path / "a/b/tasks"
    with pytest.raises(UserError, match=f"evil.tar.gz is not to be trusted.*{reason}"):
        install_in(inside, file)
    assert files_under(tmp_path / "a") == []
    assert not list(inside.iterdir())
    assert not list(tmp_path.glob("**/evil.txt"))


def test_a_member_larger_than_the_disk(tmp_path, file, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(StorageError, match="the disk is full"):
        unpack(file, tmp_path / "out")


# What is broken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"\x1f\x8b\x08\x00garbage garbage garbage"])
def test_no_archive(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tar\.gz is no whole \.tar\.gz|expected one folder"):
        install_in(tmp_path / "tasks", tmp_path / "a.tar.gz")
    assert not list((tmp_path / "tasks").iterdir())


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_an_archive_that_ends_early(tmp_path, packed, share):
    (tmp_path / "a.tar.gz").write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(UserError):
        install_in(tmp_path / "tasks", tmp_path / "a.tar.gz")
    assert not list((tmp_path / "tasks").iterdir())


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("task_metadata.json", r"expected one folder with task_metadata\.json .*found none"),
        ("train.json", r"holds a task that is not whole: file not found: train\.json"),
        ("8000/valid/valid_1.wav", r"1 of 2 clips are missing from 8000.valid \(the first: valid_1\.wav\)"),
        ("8000/test", "2 of 2 clips are missing"),
        ("8000", "no audio folder"),
    ],
)
def test_a_task_that_is_not_whole(tmp_path, gone, message):
    source = write_task(tmp_path / "source/tiny-v1-full", clips=2)
    path = source / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "a.tar.gz").write_bytes(pack(source))
    with pytest.raises(UserError, match=message):
        install_in(tmp_path / "tasks", tmp_path / "a.tar.gz")
    assert not list((tmp_path / "tasks").iterdir())


def test_two_tasks_in_an_archive(tmp_path):
    write_task(tmp_path / "two/b", clips=1)
    write_task(tmp_path / "two/a", clips=1)
    (tmp_path / "a.tar.gz").write_bytes(pack(tmp_path / "two"))
    with pytest.raises(UserError, match=r"found hear-2021\.0\.6/tasks/two/a, hear-2021\.0\.6/tasks/two/b"):
        install_in(tmp_path / "tasks", tmp_path / "a.tar.gz")


def test_the_disk_fills_up(tmp_path, file, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(StorageError, match="the disk is full"):
        install_in(tmp_path / "tasks", file)
    assert not list((tmp_path / "tasks").iterdir())


# Smaller parts -----------------------------------------------------------------------------------------------


def test_check_whole(tmp_path):
    assert check_whole(write_task(tmp_path / "tiny", clips=1)).name == "tiny"


def test_md5(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    assert md5_of(tmp_path / "a") == "5d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEX, HEX),
        (f"{HEX}  a.tar.gz\n", HEX),
        (f"{HEX.upper()} *a\n", HEX),
        ("", None),
        ("abc", None),
        (HEX + "0", None),
    ],
)
def test_parse_md5(text, expected):
    assert parse_md5(text) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (3.42e9, "3.4 GB"), (2e12, "2.0 TB")],
)
def test_human_size(size, text):
    assert human_size(size) == text


def test_check_space(tmp_path):
    check_space(tmp_path / "not/there/yet", 1, "a task")
    with pytest.raises(StorageError, match=r"^a task needs about 1000000\.0 TB of disk space, but .* has .* free"):
        check_space(tmp_path / "not/there/yet", 1e18, "a task")
