"""Worker processes: order, what they say, and every way in which one of them, or their parent, may end."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from hear_exp.prediction import pool
from hear_exp.prediction.pool import DeadWorkerError, Here, Pool, make_pool

pytestmark = pytest.mark.slow

log = logging.getLogger("a.worker")


class AwkwardError(Exception):
    """An error that cannot be unpickled: pickle calls it with its message alone."""

    def __init__(self, what, why):
        super().__init__(f"{what} because {why}")


def work(shared, job, report):
    """What a job says is what it does."""
    report(f"{shared} {job}")
    if job == "log":
        log.info("said by %s", "a worker")
        log.debug("not to be heard")
        warnings.warn("a doubt", stacklevel=1)
    elif job == "raise":
        raise ValueError("of a job")
    elif job == "awkward":
        raise AwkwardError("x", "y")
    elif job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif job == "exit":
        os._exit(3)
    elif job == "big":
        return bytes(5_000_000)
    elif job == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report("deaf now")
        time.sleep(60)
    elif job == "sleep":
        time.sleep(60)
    elif isinstance(job, float):
        time.sleep(job)
    return shared, job


def run(*jobs, workers=2, notes=None, on_done=lambda i, outcome: None):
    with make_pool(work, "all", workers) as processes:
        return processes.run(jobs, on_done, (notes if notes is not None else []).append)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_outcomes_come_in_the_order_of_the_jobs(workers):
    notes, ended = [], []
    jobs = (2.0, 0.0, 0.1, 0.01)  # a second worker may start a second later, on a busy machine
    assert run(*jobs, workers=workers, notes=notes, on_done=lambda i, _: ended.append(i)) == [("all", j) for j in jobs]
    assert sorted(notes) == sorted(f"all {job}" for job in jobs)
    assert sorted(ended) == [0, 1, 2, 3]
    if workers > 1:
        assert ended[-1] == 0 or ended[0] == 1  # a short job does not wait for a long one


def test_one_worker_is_this_process():
    assert isinstance(make_pool(work, "all", 1), Here)
    with make_pool(work, "all", 1) as here:
        assert here.run([0.0], lambda i, outcome: None, lambda note: None) == [("all", 0.0)]
        assert not multiprocessing.active_children()


def test_workers_serve_one_run_after_another():
    with Pool(work, "all", 2) as processes:
        first = processes.run([0.0], lambda i, outcome: None, lambda note: None)
        before = {process.pid for process in multiprocessing.active_children()}
        assert (first, len(before)) == ([("all", 0.0)], 1)  # no more processes than jobs
        processes.run([0.0, 0.0, 0.0], lambda i, outcome: None, lambda note: None)
        assert before < {process.pid for process in multiprocessing.active_children()}
        assert processes.run([], lambda i, outcome: None, lambda note: None) == []
    wait_for_no_children()


def test_a_large_outcome():
    assert [len(outcome) for outcome in run("big", "big")] == [5_000_000] * 2


def test_what_workers_log_and_warn_is_logged_here(caplog):
    with caplog.at_level(logging.INFO):
        run("log", "log")
    assert [r.getMessage() for r in caplog.records if r.name == "a.worker"] == ["said by a worker"] * 2
    assert sum("a doubt" in r.getMessage() for r in caplog.records if r.name == "py.warnings") == 2
    assert "not to be heard" not in caplog.text


# Ends -------------------------------------------------------------------------------------------------------


def test_an_error_of_a_job_is_raised_here_with_its_traceback():
    with pytest.raises(ValueError, match=r"^of a job$") as caught:
        run("sleep", "raise")
    assert 'raise ValueError("of a job")' in str(caught.value.__cause__)
    wait_for_no_children()
    with pytest.raises(RuntimeError, match=r"^AwkwardError: x because y$"):
        run("sleep", "awkward")


@pytest.mark.parametrize(("end", "how"), [("die", r"^by signal 9 \(Killed.*\)$"), ("exit", "^with status 3$")])
def test_a_death_is_noticed_at_once(end, how):
    """While the other worker is in the middle of a long job."""
    run(0.0)  # so that the workers of the next line start soon
    started = time.monotonic()
    with pytest.raises(DeadWorkerError, match=how):
        run("sleep", end)
    assert time.monotonic() - started < 20
    wait_for_no_children()


def test_the_death_of_an_idle_worker(monkeypatch):
    """It has nothing to say any more, and the next run must not wait for it."""
    with Pool(work, "all", 2) as processes:
        processes.run([0.0, 0.0], lambda i, outcome: None, lambda note: None)
        multiprocessing.active_children()[0].kill()
        with pytest.raises(DeadWorkerError):
            processes.run([1.0, 1.0], lambda i, outcome: None, lambda note: None)


def test_a_worker_that_does_not_want_to_end_is_killed(monkeypatch):
    monkeypatch.setattr(pool, "GRACE_S", 0.3)

    def interrupt(note):
        if note == "deaf now":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Pool(work, "all", 2) as processes:
        processes.run(["deaf", "sleep"], lambda i, outcome: None, interrupt)
    assert not multiprocessing.active_children()


PARENT = """
import multiprocessing, os, sys
import test_pool
def tell(note):
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
if __name__ == "__main__":
    with test_pool.Pool(test_pool.work, "all", 2) as processes:
        processes.run(["sleep", "deaf"], lambda i, outcome: None, tell)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    """Nobody tells them: SIGKILL leaves the parent no time."""
    (tmp_path / "parent.py").write_text(PARENT)
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline().split() for _ in range(3)]  # one for each note
        workers = [int(pid) for pid in lines[-1]]
        assert len(workers) == 2
        parent.kill()
    end = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlives its parent"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_no_children() -> None:
    end = time.monotonic() + 10
    while multiprocessing.active_children():
        assert time.monotonic() < end, "a worker lives on"
        time.sleep(0.02)
