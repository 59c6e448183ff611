"""Progress in a log file: few lines, none for quick work, plain text, flushed at once."""

import io
import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from hear_exp import progress as module
from hear_exp.progress import human_time, progress


class LogFile(io.StringIO):
    """A file that is no terminal, and counts how often it was flushed."""

    flushed = 0

    def flush(self):
        self.flushed += 1


@pytest.fixture
def log(monkeypatch):
    file = LogFile()
    monkeypatch.setattr(module, "console", Console(file=file))
    return file


@pytest.fixture
def clock(monkeypatch):
    """clock.now is the time in seconds, which only the test moves."""
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


def test_embedding_writes_a_line_for_each_tenth(log, clock):
    with progress("embedding esc50 x crepe", total=2000, measure="s of audio") as bar:
        for _ in range(100):
            clock.now += 0.6
            bar.advance(20, 18.72)
    lines = log.getvalue().splitlines()
    assert lines[0] == ("embedding esc50 x crepe: 200 of 2000 clips (10 %), 31.2 s of audio/s, about 54 s left")
    assert [line.split(": ")[1].split(" of")[0] for line in lines[:-1]] == [str(200 * i) for i in range(1, 10)]
    assert lines[-1] == "embedding esc50 x crepe: 2000 of 2000 clips in 60 s, 31.2 s of audio/s"
    assert log.flushed >= len(lines)
    assert "\x1b" not in log.getvalue()


def test_slow_work_writes_a_line_a_minute(log, clock):
    with progress("embedding nsynth x crepe", total=100000) as bar:
        for done in range(1, 100):
            clock.now += 7.0
            bar(done)
    lines = log.getvalue().splitlines()
    assert lines[0] == "embedding nsynth x crepe: 9 of 100000 clips (0 %), about 194 h 26 min left"
    assert len(lines) == 693 // 63 + 1  # the first update after each minute, and the end


def test_quick_work_writes_nothing(log, clock):
    with progress("verifying esc50", "bytes") as bar:
        for done in range(100):
            clock.now += 0.04
            bar(done, 100)
    assert log.getvalue() == ""


def test_work_that_stops_says_where(log, clock):
    def interrupted():
        with progress("esc50 x crepe", "fits") as bar:
            bar(3, 8, "lr=1e-3")
            clock.now += 100.0
            bar(4, 8, "lr=1e-3")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert log.getvalue().splitlines() == [
        "esc50 x crepe: 4 of 8 fits (50 %), lr=1e-3, about 2 min left",
        "esc50 x crepe: stopped at 4 of 8 fits in 2 min, lr=1e-3",
    ]


def test_what_was_there_before_counts_for_the_part_but_not_for_the_speed(log, clock):
    with progress("downloading esc50", "bytes", total=1000, done=500) as bar:
        clock.now += 10.0
        bar(750)
    assert log.getvalue().splitlines()[0] == (
        "downloading esc50: 750 bytes of 1.0 kB (75 %), 25 bytes/s, about 10 s left"
    )


def test_a_name_cannot_command_the_terminal(log, clock):
    with progress("embedding \x1b[2Jevil\n x crepe", total=2) as bar:
        clock.now += 10.0
        bar(1, note="\x07")
    assert log.getvalue().splitlines()[0].startswith("embedding \\x1b[2Jevil\\n x crepe: 1 of 2 clips (50 %), \\x07")


def test_a_log_that_cannot_be_written_costs_no_work(monkeypatch, clock):
    class Full(LogFile):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "console", Console(file=Full()))
    with progress("embedding", total=10) as bar:
        clock.now += 10.0
        bar(5)


SCRIPT = "from hear_exp import progress as p\nwith p.progress('work', total=2) as bar: bar(1)"


@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False)])
def test_a_terminal_gets_a_bar_and_a_dumb_one_does_not(term, draws):
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": term, "NO_COLOR": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], stderr=slave, env=environment, check=True, timeout=60)
    os.close(slave)
    try:
        shown = os.read(master, 65536).decode()
    except OSError:  # nothing was written
        shown = ""
    os.close(master)
    assert ("work" in shown and "1 of 2 clips" in shown) == draws
    assert "\x1b[3" not in shown  # colours


def test_a_file_gets_no_bar_even_where_colours_are_forced(tmp_path):
    with (tmp_path / "log").open("w") as file:
        environment = {**os.environ, "FORCE_COLOR": "1"}
        subprocess.run([sys.executable, "-c", SCRIPT], stderr=file, env=environment, check=True, timeout=60)
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (89.6, "90 s"), (240, "4 min"), (7800, "2 h 10 min")])
def test_human_time(seconds, text):
    assert human_time(seconds) == text
