"""Worker processes that each hold one shared object and run jobs on it; a death among them is noticed at once."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from ..tasks.audio import cpu_count

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Report = Callable[[str], None]
Work = Callable[[Shared, Job, Report], Outcome]
OnDone = Callable[[int, Outcome], None]

PRELOADED = "hear_exp.prediction.fit"  # what all workers import, and takes seconds
GRACE_S = 5.0  # between asking the workers to end and killing them


class DeadWorkerError(Exception):
    """A worker process ended in the middle of its work; the message says how."""


class RemoteError(Exception):
    """The cause of an error that a worker raised: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Pool(Generic[Shared, Job, Outcome]):
    """Runs ``work(shared, job, report)`` for jobs in up to ``workers`` processes; a context manager.

    The processes start with the first jobs and serve all later ones, so that each reads ``shared`` once. What a
    worker logs, warnings included, is logged here. The workers do not hear Ctrl-C, which this process answers, and
    end when this process does, however that happens; leaving the block ends them, in the middle of a job if need be.
    """

    def __init__(self, work: Work[Shared, Job, Outcome], shared: Shared, workers: int):
        self._work, self._shared, self._limit = work, shared, workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool[Shared, Job, Outcome]:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for end, then in ((time.monotonic() + GRACE_S, "kill"), (time.monotonic() + 2 * GRACE_S, "")):
            for worker in self._workers:
                worker.process.join(max(0.0, end - time.monotonic()))
                if then and worker.process.is_alive():
                    worker.process.kill()
        for worker in self._workers:
            worker.pipe.close()
        self._workers.clear()

    def run(self, jobs: Sequence[Job], on_done: OnDone[Outcome], on_note: Report) -> list[Outcome]:
        """Outcomes of ``jobs``, in their order.

        ``on_done(i, outcome)`` is called as jobs end, ``on_note(note)`` with what jobs report while they run.

        Raises what a job raised (its cause holds the worker's traceback), and DeadWorkerError.
        """
        outcomes: dict[int, Outcome] = {}
        waiting = iter(enumerate(jobs))
        while len(self._workers) < min(self._limit, len(jobs)):
            self._workers.append(_start(self._work, self._shared))
        for worker in self._workers:
            worker.give(next(waiting, None))
        while len(outcomes) < len(jobs):
            for worker in self._wait():
                kind, content = worker.receive()
                if kind == "log":
                    _log_again(content)
                elif kind == "note":
                    on_note(content)
                elif kind == "error":
                    error, text = content
                    raise error from RemoteError(text)
                else:
                    index, worker.job = worker.job, None
                    assert index is not None
                    outcomes[index] = content
                    worker.give(next(waiting, None))
                    on_done(index, content)
        return [outcomes[i] for i in range(len(jobs))]

    def _wait(self) -> list[_Worker]:
        """The workers that have said something, or have died (``receive`` then finds that out); waits for one."""
        owner: dict[Any, _Worker] = {w.pipe: w for w in self._workers} | {w.process.sentinel: w for w in self._workers}
        ready = [owner[thing] for thing in connection.wait(list(owner))]
        return [worker for worker in self._workers if worker in ready]


@dataclass(eq=False)
class _Worker:
    """A process, our end of its pipe, and the index of the job it has."""

    process: Any
    pipe: connection.Connection
    job: int | None = None

    def give(self, job: tuple[int, Any] | None) -> None:
        if job is None:
            return
        self.job = job[0]
        try:
            self.pipe.send(job[1])
        except OSError as error:
            raise self._died() from error

    def receive(self) -> tuple[str, Any]:
        """Its next message: what it had said before it died comes first."""
        try:
            if self.pipe.poll():
                kind, content = self.pipe.recv()
                return kind, content
        except (EOFError, OSError) as error:  # its end is closed, or closed in the middle of a message
            raise self._died() from error
        raise self._died()

    def _died(self) -> DeadWorkerError:
        self.process.join(GRACE_S)
        code = self.process.exitcode
        if code == -signal.SIGTERM:
            time.sleep(0.5)  # who ends a whole job, Slurm for one, ends this process too: its own signal says it better
        how = "without a word" if code is None else f"with status {code}"
        if code is not None and code < 0:
            how = f"by signal {-code} ({signal.strsignal(-code)})"
        return DeadWorkerError(how)


class Here(Generic[Shared, Job, Outcome]):
    """What a Pool does, in this process, one job after another."""

    def __init__(self, work: Work[Shared, Job, Outcome], shared: Shared):
        self._work, self._shared = work, shared

    def __enter__(self) -> Here[Shared, Job, Outcome]:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, jobs: Sequence[Job], on_done: OnDone[Outcome], on_note: Report) -> list[Outcome]:
        """Outcomes of ``jobs``, in their order; see Pool.run."""
        outcomes = []
        for i, job in enumerate(jobs):
            outcomes.append(self._work(self._shared, job, on_note))
            on_done(i, outcomes[-1])
        return outcomes


def make_pool(
    work: Work[Shared, Job, Outcome], shared: Shared, workers: int
) -> Pool[Shared, Job, Outcome] | Here[Shared, Job, Outcome]:
    """Processes for more than one worker; one needs none."""
    return Pool(work, shared, workers) if workers > 1 else Here(work, shared)


def warm_up() -> None:
    """Start importing the heavy modules in the background, for the workers that a search will want."""
    if cpu_count() > 1:
        _context()
        threading.Thread(target=_start_fork_server, daemon=True).start()


def _context() -> Any:
    """A fork server that has imported the heavy modules once, where there is one; else fresh processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    return context


def _start_fork_server() -> None:
    """Start it, where there is one, deaf to Ctrl-C: it would print a traceback in the middle of its imports.

    The mask of signals is the calling thread's, and the server and its workers inherit it.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    from multiprocessing import forkserver

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(work: Work[Shared, Job, Outcome], shared: Shared) -> _Worker:
    context = _context()
    _start_fork_server()
    ours, theirs = context.Pipe()
    level = logging.getLogger().level
    process = context.Process(target=_serve, args=(theirs, work, shared, level), daemon=True)
    try:
        process.start()
    except (EOFError, OSError) as error:  # the fork server died, or the worker while it was being told what to do
        raise DeadWorkerError(f"at its start ({error})") from error
    finally:
        theirs.close()  # else its end would stay open when it dies
    return _Worker(process, ours)


def _log_again(record: logging.LogRecord) -> None:
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


# In a worker ------------------------------------------------------------------------------------------------


class _ToParent(logging.handlers.QueueHandler):
    """Sends records, their messages and tracebacks made into text."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue("log", record)  # type: ignore[operator]  # a function here, which QueueHandler does not know


def _serve(pipe: connection.Connection, work: Callable[..., Any], shared: Any, level: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    lock = threading.Lock()

    def tell(kind: str, content: Any) -> None:
        with lock:
            pipe.send((kind, content))

    root = logging.getLogger()
    root.handlers[:] = [_ToParent(tell)]  # type: ignore[arg-type]  # as above
    root.setLevel(level)
    logging.captureWarnings(True)
    with contextlib.suppress(EOFError):  # the parent has closed its end
        while True:
            job = pipe.recv()
            try:
                outcome = work(shared, job, lambda note: tell("note", note))
            except Exception as error:
                tell("error", (_sendable(error), traceback.format_exc()))
            else:
                tell("done", outcome)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    """``error``, or what it says where it does not survive the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
