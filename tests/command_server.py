"""Runs commands of the project, each in a process of its own that need not import torch again.

A program: it imports the heavy modules once, then for each line of JSON on its input ({"words", "folder",
"environment", "output", "limit_s"}) forks a child that runs ``python -m WORDS`` as a shell would in that folder, and
answers with the child's exit status. A second or less in place of the ten that the imports take.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType

PRELOADED = (
    "hear_exp.settings.objects",
    "hear_exp.prediction.search",
    "hear_exp.report.pictures",
    "hear_exp.report.__main__",
    "hear_exp.validate.api",
)


class CommandServer:
    """Talks to the program; a context manager."""

    def __enter__(self) -> CommandServer:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def run(
        self, words: list[str], folder: Path, environment: dict[str, str] | None = None, limit_s: int = 240
    ) -> tuple[int, str]:
        """Exit status and output (both streams) of ``python -m WORDS`` in ``folder``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = folder / ".output"
        job = {"words": words, "folder": str(folder), "environment": environment or {}, "output": str(output)}
        self._process.stdin.write(json.dumps({**job, "limit_s": limit_s}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()), output.read_text(errors="replace")


def _main() -> None:
    import importlib

    for module in PRELOADED:
        importlib.import_module(module)
    answers = os.dup(1)
    os.dup2(2, 1)  # nothing but statuses goes to the one who asked
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(**job))
        _, status = os.waitpid(child, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(words: list[str], folder: str, environment: dict[str, str], output: str, limit_s: int) -> int:
    signal.alarm(limit_s)
    os.chdir(folder)
    with open(output, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.environ.update(environment)
    sys.path[:0] = [folder, *(str(Path(folder, p)) for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p)]
    module, *sys.argv[1:] = words
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return status


if __name__ == "__main__":
    _main()
