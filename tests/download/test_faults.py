"""What the disk and the system refuse costs no download; only an archive that is not what it should be is removed."""

import errno
import os
import shutil
import tarfile

import pytest
from archive_server import ArchiveServer, pack
from tiny import write_task

from hear_exp.download import __main__ as download
from hear_exp.download import archive as archive_module
from hear_exp.download import unpack as unpack_module
from hear_exp.download.fetch import Patience
from hear_exp.download.origins import Origin, Wanted
from hear_exp.download.unpack import ContentError, StorageError
from hear_exp.errors import UserError
from hear_exp.tasks.folder import read_task

REFUSALS = ("ENOSPC", "EDQUOT", "EIO", "EACCES", "EROFS", "EMFILE", "ENAMETOOLONG")
SOON = Patience(attempts=2, pause_s=0.001, timeout_s=5)
NAME = "tiny-v1-full"


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> bytes:
    return pack(write_task(tmp_path_factory.mktemp("source") / NAME, clips=2))


@pytest.fixture
def server(packed, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ArchiveServer({f"hear2021-{NAME}-48000.tar.gz": packed}).running() as running:
        yield running


@pytest.fixture
def origin(server, tmp_path, packed):
    wanted = Wanted("tiny", NAME, tmp_path / "tasks" / NAME)
    url = f"{server.address}/files/{wanted.filename}"
    return Origin(wanted, url=url, size=len(packed), md5=server.md5[wanted.filename])


def part_of(origin):
    return origin.wanted.place.parent / ".download" / f"{origin.wanted.filename}.part"


def refusing(number, real, times=1):
    """``real``, which the system refuses with this error ``times`` times; like write(), without a file's name."""
    left = iter(range(times))

    def call(*arguments, **options):
        if next(left, None) is not None:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    return call


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("where", ["content", "folder", "archive", "rename"])
def test_a_refusal_while_unpacking_keeps_the_download(origin, server, packed, monkeypatch, name, where):
    number = getattr(errno, name)
    with monkeypatch.context() as patched:
        if where == "content":
            patched.setattr(unpack_module.shutil, "copyfileobj", refusing(number, shutil.copyfileobj))
        elif where == "folder":
            patched.setattr(unpack_module.Path, "mkdir", self_refusing(number))
        elif where == "archive":
            patched.setattr(unpack_module.tarfile, "open", refusing(number, tarfile.open))
        else:
            patched.setattr(archive_module.os, "replace", refusing(number, os.replace))
        with pytest.raises(StorageError) as caught:
            download.obtain(origin, SOON)
    said = str(caught.value)
    assert os.strerror(number) in said
    assert f"The download is kept ({part_of(origin)}); the same command goes on with it" in said
    assert part_of(origin).read_bytes() == packed
    assert [path.name for path in origin.wanted.place.parent.iterdir()] == [".download"]
    download.obtain(origin, SOON)
    assert read_task(origin.wanted.place).name == "tiny"
    assert len(server.downloads) == 1


def self_refusing(number):
    real, refused = unpack_module.Path.mkdir, []

    def mkdir(path, *arguments, **options):
        if path.name.endswith(".tmp") and not refused:
            refused.append(path)
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    return mkdir


def test_a_file_that_cannot_be_read_back_is_no_fault_of_the_archive(origin, monkeypatch, packed):
    def unreadable(folder, **options):
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError:
            raise UserError(f"cannot read {folder}/train.json: Too many open files") from None

    with monkeypatch.context() as patched:
        patched.setattr(archive_module, "read_task", unreadable)
        with pytest.raises(StorageError, match=r"Too many open files\. The download is kept"):
            download.obtain(origin, SOON)
    assert part_of(origin).read_bytes() == packed


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_while_verifying_keeps_the_download(origin, monkeypatch, packed, name):
    with monkeypatch.context() as patched:
        patched.setattr(download, "md5_of", refusing(getattr(errno, name), None))
        with pytest.raises(StorageError, match=r"cannot read .*\. The download is kept"):
            download.obtain(origin, SOON)
    assert part_of(origin).read_bytes() == packed


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_while_downloading_is_a_sentence(origin, monkeypatch, name):
    from hear_exp.download import fetch as module

    number, real = getattr(errno, name), module.Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *details):
            self.file.close()

        def write(self, chunk):
            self.file.write(chunk[:1000])
            raise OSError(number, os.strerror(number))  # as write() does: no file name

    with monkeypatch.context() as patched:
        patched.setattr(
            module.Path,
            "open",
            lambda path, mode="r", **o: Full(real(path, mode, **o)) if "w" in mode else real(path, mode),
        )
        with pytest.raises(StorageError, match="keeps what has arrived; mend that, and the same command goes on"):
            download.obtain(origin, SOON)
    assert part_of(origin).stat().st_size == 1000
    download.obtain(origin, SOON)
    assert read_task(origin.wanted.place).name == "tiny"


def test_wrong_content_is_removed(origin, server, packed):
    wrong = bytes(len(packed))
    server.files[origin.wanted.filename] = wrong
    with pytest.raises(UserError, match=r"is damaged.*The download was removed"):
        download.obtain(origin, SOON)
    assert not part_of(origin).exists()


def test_content_and_storage_are_told_apart():
    assert not issubclass(StorageError, ContentError)
    assert not issubclass(ContentError, StorageError)
