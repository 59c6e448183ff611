"""python -m hear_exp.download from a real local server: whole downloads, and every way in which one goes wrong."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from archive_server import ArchiveServer, member, pack, pack_with
from tiny import write_task

from hear_exp.cli import edge as cli
from hear_exp.download import __main__ as download
from hear_exp.download import origins
from hear_exp.download.unpack import StorageError
from hear_exp.errors import UserError
from hear_exp.settings import plans
from hear_exp.tasks.folder import read_task

ESC50 = "esc50-v2.0.0-full"
FILE = f"hear2021-{ESC50}-48000.tar.gz"
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> bytes:
    return pack(write_task(tmp_path_factory.mktemp("source") / ESC50, clips=4))


@pytest.fixture
def server(packed, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("hear_exp.download.fetch.time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    with ArchiveServer({FILE: packed}).running() as running:
        yield running


@pytest.fixture
def fetch(tmp_path, monkeypatch, capsys):
    """fetch("task=esc50", ...): runs the command here; returns the sentence that a failure ends with."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hear_exp.download", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "")
        try:
            cli.start(download.run, "download")
        except SystemExit:
            return capsys.readouterr().err.strip().splitlines()[-1]
        return ""

    yield run
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def from_(server) -> list[str]:
    return ["task=esc50", f"download.record={server.record}", "download.pause_s=0.001", "download.attempts=3"]


def left(folder=Path("data/tasks/.download")) -> list[str]:
    """What is left of archives that were on their way."""
    return sorted(path.name for path in folder.glob("*") if path.name != "log" and path.suffix != ".lock")


TARGET = Path("data/tasks") / ESC50
PART = Path("data/tasks/.download") / f"{FILE}.part"


# Good ends ---------------------------------------------------------------------------------------------------


def test_whole_download(server, fetch, caplog):
    assert fetch(*from_(server)) == ""
    task = read_task(TARGET)
    assert [len(split.clips) for split in task.splits] == [4, 4, 4]
    assert left() == []
    assert sorted(path.name for path in TARGET.parent.iterdir()) == [".download", ESC50]


def test_what_is_there_is_left_alone(server, fetch):
    fetch(*from_(server))
    (TARGET / "mine").write_text("x")
    requests = len(server.requests)
    assert fetch(*from_(server)) == ""
    assert len(server.requests) == requests  # not even Zenodo is asked
    assert (TARGET / "mine").exists()


def test_what_is_there_but_not_whole_is_not_touched(server, fetch):
    fetch(*from_(server))
    (TARGET / "8000/train/train_0.wav").unlink()
    assert "is there but not whole: 1 of 4 clips are missing" in fetch(*from_(server))
    assert (TARGET / "8000/train/train_1.wav").exists()


def test_breaks_off_is_busy_and_is_throttled(server, fetch):
    server.faults = [3000, (429, {"Retry-After": "1"}), 2000, (503, {})]
    server.slow_s = 0.001
    assert fetch(*from_(server)) == ""
    assert read_task(TARGET).name == "tiny"
    assert server.downloads == [None, "bytes=3000-", "bytes=3000-", "bytes=5000-", "bytes=5000-"]


def test_goes_on_after_giving_up(server, fetch, packed):
    server.faults = [3000, (503, {}), (503, {}), (503, {}), (503, {})]
    message = fetch(*from_(server))
    assert "HTTP 503" in message
    assert "keeps what has arrived" in message
    assert PART.read_bytes() == packed[:3000]
    server.faults = []
    assert fetch(*from_(server)) == ""
    assert server.downloads[-1] == "bytes=3000-"
    assert left() == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_keeps_what_has_arrived(server, fetch, tmp_path, packed, number, status):
    """A real process, a real signal; the same command goes on where it stopped."""
    server.slow_s = 10  # after the first piece
    command = [sys.executable, "-m", "hear_exp.download", f"paths.root={tmp_path}", *from_(server)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    part = tmp_path / PART
    end = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == status
    if number == signal.SIGINT:
        kept = "finished parts (embedded clips, fits, downloads) are kept, and the same command uses them"
        assert f"interrupted; {kept}" in error
    assert "Traceback" not in error
    arrived = part.stat().st_size
    assert 0 < arrived < len(packed)
    assert part.read_bytes() == packed[:arrived]
    assert not (tmp_path / TARGET).exists()
    server.slow_s = 0
    assert fetch(*from_(server)) == ""
    assert server.downloads == [None, f"bytes={arrived}-"]
    assert read_task(TARGET).name == "tiny"


@pytest.mark.slow
def test_two_processes_download_once(server, tmp_path):
    server.slow_s = 0.3
    command = [sys.executable, "-m", "hear_exp.download", f"paths.root={tmp_path}", *from_(server)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) for _ in range(2)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in both]
    assert [status for _, status in ends] == [0, 0], ends
    assert len(server.downloads) == 1
    assert read_task(tmp_path / TARGET).name == "tiny"


def test_several_tasks(server, fetch, packed, tmp_path):
    """One that fails does not keep the others from being fetched; both beehive parts land side by side."""
    bees = write_task(tmp_path / "bees", clips=3)
    for i in range(2):
        name = f"hear2021-beehive_states_fold{i}-v2-full-48000.tar.gz"
        server.files[name] = pack(bees, f"beehive_states_fold{i}-v2-full")
        server.md5[name] = hashlib.md5(server.files[name]).hexdigest()
    arguments = from_(server)[1:]
    message = fetch("tasks=[beehive_states,esc50]", *arguments)
    assert message.startswith("hear_exp: 2 archives failed: ")  # their pinned checksums are the real ones
    assert "its md5 is" in message
    assert read_task(TARGET).name == "tiny"


@pytest.mark.slow
def test_sweep(server, fetch, monkeypatch):
    """A demo task is generated, and a folder of one's own needs nothing."""
    generated = []
    monkeypatch.setattr(
        download, "ensure_demo_task", lambda name, folder, progress: generated.append((name, folder)) or folder
    )
    assert fetch("-m", "task=esc50,custom,demo_tags", *from_(server)[1:]) == ""
    assert read_task(TARGET).name == "tiny"
    assert generated == [("demo_tags", Path("data/tasks/demo_tags"))]


# Lies and evil -----------------------------------------------------------------------------------------------


def test_a_wrong_checksum(server, fetch):
    server.md5[FILE] = "0" * 32
    message = fetch(*from_(server))
    assert f"is damaged: its md5 is {hashlib.md5(server.files[FILE]).hexdigest()}, expected {'0' * 32}" in message
    assert "The download was removed" in message
    assert left() == []
    assert not TARGET.exists()


def test_a_wrong_size(server, fetch):
    server.sizes[FILE] = len(server.files[FILE]) + 1
    assert "bytes, expected" in fetch(*from_(server))
    assert not TARGET.exists()


def test_a_damaged_part_of_before(server, fetch, packed):
    """What an earlier transfer left is no part of this file: the checksum finds out, and the next call mends it."""
    PART.parent.mkdir(parents=True)
    PART.write_bytes(b"x" * 5000)
    assert "is damaged" in fetch(*from_(server))
    assert fetch(*from_(server)) == ""
    assert read_task(TARGET).name == "tiny"


def test_a_hostile_archive(server, fetch, tmp_path):
    server.files[FILE] = pack_with(lambda tar: tar.addfile(*member("../../../evil.txt", b"x")))
    server.md5[FILE] = hashlib.md5(server.files[FILE]).hexdigest()
    message = fetch(*from_(server))
    assert "is not to be trusted: '../../../evil.txt' would be written outside" in message
    assert left() == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_archive_that_is_no_task(server, fetch):
    server.files[FILE] = pack_with(lambda tar: tar.addfile(*member("readme", b"x")))
    server.md5[FILE] = hashlib.md5(server.files[FILE]).hexdigest()
    assert "expected one folder with task_metadata.json" in fetch(*from_(server))
    assert not TARGET.exists()


def test_a_record_without_the_file(server, fetch):
    server.files = {"other.tar.gz": b""}
    server.md5 = {"other.tar.gz": "0" * 32}
    assert f"has no file {FILE}; it has: other.tar.gz" in fetch(*from_(server))


def test_something_else_than_a_record(server, fetch):
    server.listing = lambda: b'{"status": 404}'
    assert "expected a record of Zenodo with its files, got something else" in fetch(*from_(server))


def test_no_internet(fetch):
    message = fetch("task=esc50", "download.record=http://127.0.0.1:9/record")
    assert "cannot be reached" in message
    assert "download.mirror=FOLDER" in message


# Large ones --------------------------------------------------------------------------------------------------


def options(**changes) -> download.Options:
    default = {"mirror": None, "archive": None, "resample": None, "yes": False, "ask_above_gb": 5}
    default |= {"record": "", "attempts": 1, "pause_s": 0}
    return download.Options(**{**default, **changes})


def large(gb: float | None) -> list[origins.Origin]:
    size = None if gb is None else int(gb * 1e9)
    return [origins.Origin(origins.Wanted("fsd50k", "x", Path("x")), url="http://host/x", size=size)]


class Terminal:
    def isatty(self) -> bool:
        return True


def test_above_the_limit_without_a_terminal(fetch):
    with pytest.raises(UserError, match=r"^5\.1 GB to download, and nobody here to ask: add download\.yes=true$"):
        download.ask(large(5.1), options())
    download.ask(large(5.1), options(yes=True))
    download.ask(large(4.9), options())
    download.ask(large(None), options())
    download.ask([], options())
    with pytest.raises(UserError, match=r"^6\.0 GB"):
        download.ask(large(3) + large(3), options())


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("YES ", True), ("", False), ("n", False)])
def test_above_the_limit_at_a_terminal(monkeypatch, answer, goes_on):
    asked = []
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    if goes_on:
        download.ask(large(24), options())
    else:
        with pytest.raises(UserError, match="nothing was downloaded"):
            download.ask(large(24), options())
    assert asked == ["Download 24.0 GB? [y/N] "]


def test_the_question_comes_before_the_download(server, fetch):
    assert "nobody here to ask" in fetch(*from_(server), "download.ask_above_gb=0.000001")
    assert server.downloads == []
    assert fetch(*from_(server), "download.ask_above_gb=0.000001", "download.yes=true") == ""


def test_a_full_disk(server, fetch, monkeypatch):
    def full(folder, needed, what):
        assert needed == 3 * len(server.files[FILE])
        raise StorageError("no room")

    monkeypatch.setattr(download, "check_space", full)
    assert fetch(*from_(server)) == "hear_exp: no room"
    assert server.downloads == []


# Mirrors and files -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_as_a_mirror(fetch, packed, tmp_path, caplog):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    arguments = ["task=esc50", f"download.mirror={mirror}", "download.record=http://127.0.0.1:9/record"]
    assert f"has no file {FILE}" in fetch(*arguments)
    (mirror / FILE).write_bytes(packed)
    (mirror / f"{FILE}.md5").write_text(f"{'0' * 32}  {FILE}\n")
    assert "is damaged" in fetch(*arguments)
    assert (mirror / FILE).exists()  # not ours to remove
    (mirror / f"{FILE}.md5").write_text(f"{hashlib.md5(packed).hexdigest()}  {FILE}\n")
    assert fetch(*arguments) == ""
    assert read_task(TARGET).name == "tiny"


def test_a_mirror_without_checksums_says_so(fetch, packed, tmp_path, capsys):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / FILE).write_bytes(packed)
    arguments = ["task=esc50", f"download.mirror={tmp_path}/mirror", "download.record=http://127.0.0.1:9/record"]
    assert fetch(*arguments) == ""
    (log,) = Path("data/tasks/.download/log").glob("*/run.log")
    assert "could not be verified: no checksum is known for it" in log.read_text()


def test_a_mirror_is_verified_with_zenodo_where_it_answers(server, fetch, packed, tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / FILE).write_bytes(packed[:-1])
    message = fetch(*from_(server), f"download.mirror={tmp_path}/mirror")
    assert f"expected {server.md5[FILE]}" in message


def test_a_url_as_a_mirror(server, fetch, packed):
    server.files[f"{FILE}.md5"] = hashlib.md5(packed).hexdigest().encode()
    arguments = [*from_(server)[2:], "task=esc50", "download.record=http://127.0.0.1:9/record"]
    assert fetch(*arguments, f"download.mirror={server.address}/files/") == ""
    assert read_task(TARGET).name == "tiny"


def test_pinned_checksums_come_first(server, packed):
    wanted = origins.Wanted("esc50", ESC50, Path("x"), md5="1" * 32)
    (origin,) = origins.find_origins([wanted], server.record, None, options().patience)
    assert origin.md5 == "1" * 32
    (origin,) = origins.find_origins([wanted], server.record, f"{server.address}/files", options().patience)
    assert (origin.md5, origin.size) == ("1" * 32, len(packed))


@pytest.mark.slow
def test_an_archive_on_disk(fetch, packed, tmp_path):
    (tmp_path / "any name.tar.gz").write_bytes(packed)
    assert fetch(f"download.archive='{tmp_path}/any name.tar.gz'", "paths.tasks=here") == ""
    assert read_task(Path("here") / ESC50).name == "tiny"
    assert fetch(f"download.archive='{tmp_path}/any name.tar.gz'", "task=esc50") == ""
    assert read_task(TARGET).name == "tiny"
    assert fetch(f"download.archive='{tmp_path}/any name.tar.gz'", "task=esc50") == ""  # is left alone
    message = fetch(f"download.archive='{tmp_path}/any name.tar.gz'", "task=libricount")
    assert f"holds the task {ESC50}, but task=libricount is libricount-v1.0.0-hear2021-full" in message


def test_an_archive_on_disk_with_a_checksum(fetch, packed, tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(packed)
    (tmp_path / "a.tar.gz.md5").write_text("0" * 32)
    assert "is damaged" in fetch(f"download.archive={tmp_path}/a.tar.gz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which task? task=NAME or tasks=all; the names are: beehive_states, beijing_opera,"),
        (["tasks=[esc50,esc51]"], "there is no HEAR task called 'esc51'; choose from: beehive_states,"),
        (["task=esc50", "tasks=all"], "give task=NAME or tasks=..., not both"),
        (["download.archive=none.tar.gz"], "download.archive: file not found: none.tar.gz"),
        (["download.archive=a", "download.mirror=b"], "download.mirror and tasks have no effect with it"),
        (["download.archive=conftest.py", "task=demo_scene"], "has no effect with task=demo_scene"),
        (["task=esc5"], "there is no task called 'esc5'; choose one of: beehive_states,"),
        (["task=esc50", "download.yes=maybe"], "download.yes is 'maybe', expected true or false"),
        (["task=esc50", "download.ask_above_gb=much"], "download.ask_above_gb is 'much', expected a number"),
        (["task=esc50", "download.resample=[16000,fast]"], "download.resample is 'fast', expected a sample rate"),
        (["task=esc50", "download.attempts=0"], "download.attempts is 0, expected a number from 1 up"),
        (["task=esc50", "download.mirror=ftp://host/a"], "expected an address that begins with http"),
        (["task=esc50", "download.yess=1"], "unknown option: download.yess"),
    ],
)
def test_mistakes(fetch, arguments, message):
    Path("conftest.py").write_text("")
    assert message in fetch(*arguments)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the archives beside the project")
@pytest.mark.parametrize(
    ("file", "name", "clips", "rate"),
    [
        ("hear-2021.0.6-spoken_digit-1.0.9-small-44100.tar.gz", "spoken_digit", 100, 44100),
        ("hear2021-fsdd-v1-full-16000.tar.gz", "fsdd", 3000, 16000),
    ],
)
def test_archives_that_hear_made(fetch, file, name, clips, rate):
    assert fetch(f"download.archive={SHARED / file}") == ""
    (folder,) = Path("data/tasks").glob(f"{name}*")
    task = read_task(folder)
    assert (task.name, task.sample_rates) == (name, (rate,))
    assert sum(len(split.clips) for split in task.splits) == clips


# Resampling --------------------------------------------------------------------------------------------------


def test_resampled_once(server, fetch):
    assert fetch(*from_(server), "download.resample=[4000,2000]") == ""
    assert read_task(TARGET).sample_rates == (2000, 4000, 8000)
    samples, rate = soundfile.read(TARGET / "4000/train/train_0.wav")
    assert (rate, len(samples)) == (4000, 2000)
    assert np.abs(samples).max() > 0.1
    stamp = (TARGET / "4000/train/train_0.wav").stat().st_mtime_ns
    assert fetch(*from_(server), "download.resample=4000") == ""
    assert (TARGET / "4000/train/train_0.wav").stat().st_mtime_ns == stamp


# Before the download -----------------------------------------------------------------------------------------


def test_a_task_that_is_not_there_yet(settings_of):
    settings, overrides = settings_of("task=esc50", "paths.root=else where", "seed=1")
    with pytest.raises(UserError) as caught:
        plans.load_task(settings, overrides)
    assert str(caught.value) == (
        "esc50 is not there yet (else where/data/tasks/esc50-v2.0.0-full); this fetches it, and tells its size before: "
        "python -m hear_exp.download task=esc50 'paths.root=else where'"
    )


def test_the_record_is_that_of_hear():
    assert cli.conf_dir().joinpath("download.yaml").read_text().count("https://zenodo.org/api/records/6332517") == 1
    assert json.loads(ArchiveServer({}).listing()) == {"id": 6332517, "files": []}
