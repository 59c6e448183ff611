"""Progress bars on stderr, with numbers a person waits by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

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
def demo_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over clips. Yields ``update(done, total)``; nothing shows before the first call."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(title, total=None, visible=False)
        yield lambda done, total: progress.update(bar, completed=done, total=total, visible=True)


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


@contextmanager
def bytes_bar(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar over the bytes of a file, with speed and time left. Yields ``update(done, total)``; total None: unknown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(title, total=None)

        def update(done: int, total: int | None) -> None:
            progress.update(bar, completed=done, total=total)

        yield update


@contextmanager
def clips_bar(title: str, clips: int) -> Iterator[Callable[[int], None]]:
    """A bar over clips. Yields ``update(done)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(title, total=clips)

        def update(done: int) -> None:
            progress.update(bar, completed=done)

        yield update
