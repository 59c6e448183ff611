"""Ctrl-C and SIGTERM: a sentence and the usual status, at any moment and from every command.

Imports nothing but the standard library, so that a command can call ``answer_signals`` before its other imports.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

KEPT = "finished parts (embedded clips, fits, downloads) are kept, and the same command uses them"
PATIENCE_S = 1.0  # terminals and schedulers send a signal twice; a person who means it waits this long


class Interrupted(SystemExit):
    """A signal asked the process to end; its sentence has been said."""


class _State:
    status: int | None = None  # of the first signal that came
    came_at = 0.0
    kept = KEPT
    leaving = False  # nothing is left that an exception could clean up


def answer_signals(kept: str = KEPT) -> None:
    """From now on SIGINT and SIGTERM say a sentence and raise ``Interrupted``; a second one ends at once.

    As an exception it closes the wandb run and stops the workers. ``kept`` says what an interrupted command leaves.
    """
    _State.kept = kept
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and shells' '&' have it ignored
            signal.signal(number, _answer)


def status_of_signal() -> int | None:
    """The exit status that a signal asked for, if one came: what it interrupted may have made another error of it."""
    return _State.status


def leaving() -> None:
    """The command is done or has failed: a signal from now on ends the process without an exception."""
    _State.leaving = True


def _answer(number: int, frame: FrameType | None) -> None:
    status = 128 + number
    if _State.status is not None:
        if time.monotonic() - _State.came_at > PATIENCE_S:
            _end_at_once(_State.status)
        return
    _State.status, _State.came_at = status, time.monotonic()
    word = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    start = "\n" if sys.stderr is not None and sys.stderr.isatty() else ""  # a bar may stand on the line
    os.write(2, f"{start}hear_exp: {word}; {_State.kept}\n".encode())
    if _State.leaving:
        _end_at_once(status)
    raise Interrupted(status)


def _end_at_once(status: int) -> None:
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()
    os._exit(status)
