"""How far a piece of work is: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from .safe_text import one_line

console = Console(stderr=True)

QUIET_S = 5.0  # a step that is done by then prints no line, and no two lines are closer
LINE_EVERY_S = 60.0  # at the latest, where the work moves at all; before that at each tenth of it


class Meter:
    """Counts what is done of some work, of ``total`` if that is known, and how fast.

    ``measure`` names a second quantity, counted up by ``amount`` and shown a second ('s of audio').
    """

    def __init__(self, title: str, unit: str, total: int | None, done: int, measure: str):
        self.title, self.unit, self.total, self.done = one_line(title), unit, total, done
        self.measure, self.amount, self.note = measure, 0.0, ""
        self.first, self.started = done, time.perf_counter()
        self.changed: Callable[[], None] = lambda: None

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        """Note that ``done`` units are done, of ``total`` (None: as known before)."""
        self.done, self.total, self.note = done, self.total if total is None else total, one_line(note)
        self.changed()

    def advance(self, count: int, amount: float = 0.0) -> None:
        """Note ``count`` more units, and ``amount`` of the measure with them."""
        self.amount += amount
        self(self.done + count, note=self.note)

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.perf_counter() - self.started

    @property
    def fraction(self) -> float:
        """The part that is done, from 0 to 1; 0 where the total is not known."""
        return self.done / self.total if self.total else 0.0

    def counted(self) -> str:
        """'200 of 2000 clips', '1.2 GB of 3.4 GB'."""
        if self.unit == "bytes":
            return human_size(self.done) + ("" if self.total is None else f" of {human_size(self.total)}")
        return f"{self.done}{'' if self.total is None else f' of {self.total}'} {self.unit}"

    def details(self) -> list[str]:
        """The speed and the note, where there are any: ['31.2 s of audio/s']."""
        seconds = max(self.seconds, 1e-9)
        found = [f"{self.amount / seconds:.1f} {self.measure}/s"] if self.measure else []
        found += [f"{human_size((self.done - self.first) / seconds)}/s"] if self.unit == "bytes" else []
        return found + ([self.note] if self.note else [])

    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the speed so far; None where that is not known."""
        fresh = self.done - self.first
        return None if not self.total or fresh <= 0 else (self.total - self.done) * self.seconds / fresh


class _Display(Protocol):
    def show(self) -> None: ...

    def finish(self, whole: bool) -> None: ...


class _Bar:
    """A bar on the terminal, which goes when the work is done."""

    def __init__(self, meter: Meter):
        self.meter = meter
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, transient=True)
        self.task: TaskID = self.progress.add_task(
            meter.title, total=meter.total, completed=meter.done, visible=meter.total is not None, status=self._status()
        )
        self.progress.start()

    def _status(self) -> str:
        return "  ".join([self.meter.counted(), *self.meter.details()])

    def show(self) -> None:
        meter = self.meter
        self.progress.update(
            self.task, completed=meter.done, total=meter.total, visible=True, status=self._status(), refresh=False
        )

    def finish(self, whole: bool) -> None:
        self.progress.stop()


class _Lines:
    """Lines in a file: each minute or tenth of the work, none for work that takes seconds, one at its end."""

    def __init__(self, meter: Meter):
        self.meter, self.said = meter, False
        self.last_s, self.tenth = 0.0, int(10 * meter.fraction)

    def show(self) -> None:
        meter, tenth = self.meter, int(10 * self.meter.fraction)
        since = meter.seconds - self.last_s
        if meter.done == meter.total or since < (QUIET_S if tenth > self.tenth else LINE_EVERY_S):
            return
        self.last_s, self.tenth = meter.seconds, tenth
        percent = f" ({100 * meter.fraction:.0f} %)" if meter.total else ""
        left = meter.seconds_left()
        rest = [] if left is None else [f"about {human_time(left)} left"]
        self._print(", ".join([f"{meter.counted()}{percent}", *meter.details(), *rest]))

    def finish(self, whole: bool) -> None:
        meter = self.meter
        if self.said or meter.seconds >= QUIET_S:
            how = "" if whole else "stopped at "
            self._print(", ".join([f"{how}{meter.counted()} in {human_time(meter.seconds)}", *meter.details()]))

    def _print(self, text: str) -> None:
        self.said = True
        with suppress(OSError, ValueError):  # a log on a full disk, or closed, must not cost the work
            print(f"{self.meter.title}: {text}", file=console.file, flush=True)


@contextmanager
def progress(
    title: str, unit: str = "clips", *, total: int | None = None, done: int = 0, measure: str = ""
) -> Iterator[Meter]:
    """Show work on ``total`` units (None: not known yet), ``done`` of them done before. Yields what counts them.

    On a terminal a bar, which shows nothing before the total or a first count is there. Elsewhere (a log file,
    Slurm, TERM=dumb) plain lines, such as 'embedding esc50 x crepe: 200 of 2000 clips (10 %), 31.2 s of audio/s,
    about 4 min left', each flushed at once: the first after some seconds, one each minute or tenth, one at the end.
    """
    meter = Meter(title, unit, total, done, measure)
    display: _Display = _Bar(meter) if _on_terminal() else _Lines(meter)
    meter.changed = display.show
    whole = False
    try:
        yield meter
        whole = True
    finally:
        display.finish(whole)


def _on_terminal() -> bool:
    # Not rich's is_terminal: FORCE_COLOR, which many a cluster's profile sets, makes that true for files.
    try:
        return console.file.isatty() and not console.is_dumb_terminal
    except ValueError:  # closed
        return False


def human_size(size: float) -> str:
    """Bytes as a person reads them, in decimal units as Zenodo shows them: '3.4 GB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def human_time(seconds: float) -> str:
    """Seconds as a person reads them: '45 s', '4 min', '2 h 10 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
