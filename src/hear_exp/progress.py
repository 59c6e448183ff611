"""Progress bars on stderr, with numbers a person waits by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True)


@contextmanager
def embedding_bar(title: str, clips: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """A bar over clips that also shows seconds of audio embedded a second.

    Yields ``advance(clips, audio_seconds)``.
    """
    columns = (
        TextColumn("embedding {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("clips, {task.fields[speed]:.1f} s of audio/s"),
        TimeRemainingColumn(),
    )
    started, seconds = time.perf_counter(), 0.0
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(title, total=clips, completed=done, speed=0.0)

        def advance(count: int, audio_seconds: float) -> None:
            nonlocal seconds
            seconds += audio_seconds
            progress.update(bar, advance=count, speed=seconds / (time.perf_counter() - started))

        yield advance


@contextmanager
def search_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar over the fits of a search. Yields ``update(done, total, note)``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("fits  {task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(title, total=None, note="")

        def update(done: int, total: int, note: str) -> None:
            progress.update(bar, completed=done, total=total, note=note)

        yield update
