"""Fits on disk: the round trip, damage, disks that refuse, and a search that is killed and goes on."""

import dataclasses
import json
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import grid, knn, make_problem, mlp, same_weights, write_task

from hear_exp.__main__ import run
from hear_exp.errors import UserError
from hear_exp.prediction.fit import run_fit
from hear_exp.prediction.fit_store import FitStore, collect_stale, decode_fit, encode_fit
from hear_exp.prediction.identity import Identity, run_identity
from hear_exp.prediction.outcome import FitJob, FitOutcome, Validation
from hear_exp.prediction.outcome import TestOutcome as SplitOutcome
from hear_exp.prediction.search import search
from hear_exp.results.result import read_result
from hear_exp.scoring.decode import Postprocessing
from hear_exp.scoring.event import Event
from hear_exp.tasks.folder import Fold, folds

FOLD = Fold(("train", "more"), "valid", "test")


def fit_of(**changes) -> FitOutcome:
    job = FitJob(3, mlp(), 0, FOLD, False)
    weights = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.batches": np.array(7)}
    return replace(FitOutcome(job, 0.5, 2, 12, "patience", None, (), weights, 1.25), **changes)


def assert_equal(a: FitOutcome, b: FitOutcome) -> None:
    """Equal in every field, NaN to NaN, arrays with their dtype."""
    for field in dataclasses.fields(FitOutcome):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if field.name == "weights":
            assert same_weights(ours, theirs)
            assert [w.dtype for w in ours.values()] == [w.dtype for w in theirs.values()]
        elif field.name == "tested" and ours is not None:
            assert np.array_equal(ours.probabilities, theirs.probabilities, equal_nan=True)
            assert ours.probabilities.dtype == theirs.probabilities.dtype
            nothing = np.empty(0)
            assert repr(replace(ours, probabilities=nothing)) == repr(replace(theirs, probabilities=nothing))
        else:
            assert repr(ours) == repr(theirs)


# One fit ----------------------------------------------------------------------------------------------------

numbers = st.floats(allow_nan=True, allow_infinity=True)
post = st.none() | st.builds(Postprocessing, st.sampled_from([0, 250, 12.5]), st.sampled_from([0, 125.0]))
validations = st.builds(Validation, st.integers(0, 500), numbers, numbers, numbers, post)
events = st.builds(Event, st.text(max_size=4), st.floats(0, 1e6), st.floats(0, 1e6))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    numbers,
    numbers,
    st.lists(validations, max_size=3),
    post,
    st.dictionaries(st.text(max_size=5), st.lists(events, max_size=3).map(tuple), max_size=3),
    st.integers(0, 4),
    st.sampled_from([np.float32, np.float64]),
)
@example(math.nan, math.inf, [], None, {"a/ü.wav": ()}, 0, np.float64)
def test_round_trip(score, loss, curve, postprocessing, found, rows, dtype):
    tested = SplitOutcome("test", {"a": score, "b": loss}, np.full((rows, 2), 1 / 3, dtype), found, {"a": "why"})
    outcome = fit_of(
        validation_score=score,
        validation_loss=loss,
        monitor="loss",
        curve=tuple(curve),
        postprocessing=postprocessing,
        tested=tested,
        job=FitJob(3, mlp(), 1, FOLD, True),
    )
    assert_equal(decode_fit(encode_fit(outcome), outcome.job), outcome)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_round_trip_of_a_real_fit(kind, request):
    problem = request.getfixturevalue(kind)
    for point in (mlp(), knn()):
        outcome = run_fit(problem, FitJob(0, point, 0, folds(problem.task)[0], True))
        assert_equal(decode_fit(encode_fit(outcome), outcome.job), outcome)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_no_damaged_byte_gets_through(data):
    content = bytearray(encode_fit(fit_of()))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="checksum"):
        decode_fit(bytes(content), fit_of().job)
    with pytest.raises(ValueError, match="checksum"):
        decode_fit(encode_fit(fit_of())[:at], fit_of().job)


# The store --------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path) -> FitStore:
    return FitStore(tmp_path / "fits", Identity({"seed": 1})).open()


def test_a_fit_is_found_by_its_job_alone(store):
    outcome = fit_of()
    assert store.read(outcome.job) is None
    store.keep(outcome)
    assert_equal(store.read(outcome.job), outcome)
    others = ({"point": 4}, {"fold_index": 1}, {"test": True}, {"predictor": mlp(lr=1e-5)})
    for other in (*others, {"fold": replace(FOLD, train=("train",))}):  # the point decides the seed
        assert store.read(replace(outcome.job, **other)) is None
    assert json.loads((store.folder / "identity.json").read_text()) == {"seed": 1}
    assert store.folder.name == store.identity.digest
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]
    store.discard()
    assert not store.folder.exists()
    store.keep(outcome)  # a second process with the same run goes on
    assert_equal(store.read(outcome.job), outcome)


@pytest.mark.parametrize("damage", [b"", b"x", None], ids=["emptied", "overwritten", "cut"])
def test_a_damaged_fit_is_done_again(store, damage, caplog):
    store.keep(fit_of())
    (path,) = store.folder.glob("*.fit")
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert store.read(fit_of().job) is None
    assert f"damaged fit: {path} (its checksum differs); it is done again" in caplog.text


def test_fits_of_another_run_under_this_name(store, caplog):
    """Only by hand, or with a digest that comes twice; the settings beside the fits tell it."""
    store.keep(fit_of())
    (store.folder / "identity.json").write_text('{"seed": 2}')
    again = FitStore(store.folder.parent, store.identity).open()
    assert "is not this run's (seed: 1, was 2)" in caplog.text
    assert again.read(fit_of().job) is None
    assert json.loads((store.folder / "identity.json").read_text()) == {"seed": 1}


@pytest.mark.parametrize("content", ['{"seed": 1', "[]", '{"seed": NaN}'])
def test_fits_beside_settings_that_cannot_be_read_are_done_again(store, content, caplog):
    """Whose they are is not known."""
    store.keep(fit_of())
    (store.folder / "identity.json").write_text(content)
    again = FitStore(store.folder.parent, store.identity).open()
    assert "its fits are done again" in caplog.text
    assert again.read(fit_of().job) is None
    assert json.loads((store.folder / "identity.json").read_text()) == {"seed": 1}


def test_a_disk_that_refuses_costs_no_run(tmp_path, caplog):
    (tmp_path / "fits").write_text("a file where a folder should be")
    store = FitStore(tmp_path / "fits", Identity({"seed": 1})).open()
    store.keep(fit_of())
    assert store.read(fit_of().job) is None
    (record,) = [r for r in caplog.records if "cannot be kept" in r.getMessage()]  # said once
    assert str(store.folder) in record.getMessage()


def test_what_nobody_went_on_with_is_collected(tmp_path, caplog):
    stores = [FitStore(tmp_path, Identity({"seed": i})).open() for i in range(2)]
    foreign = tmp_path / "notes"
    foreign.mkdir()
    for folder in (stores[0].folder, foreign):
        os.utime(folder, (time.time() - 31 * 24 * 3600,) * 2)
    with caplog.at_level(logging.INFO):
        FitStore(tmp_path, Identity({"seed": 9})).open()
    assert not stores[0].folder.exists()
    assert stores[1].folder.exists()
    assert foreign.exists()  # not one of ours
    assert [r.getMessage() for r in caplog.records] == [
        f"removed fits of unfinished searches, untouched for 30 days: 1 folders in {tmp_path}"
    ]
    assert collect_stale(tmp_path / "nowhere") == 0


# A search that goes on --------------------------------------------------------------------------------------

POINTS = grid(lr=(1e-3, 1e-2), hidden_layers=(2,))
RUN = """
import os, pickle, signal, sys
from pathlib import Path
from hear_exp.prediction.fit_store import FitStore
from hear_exp.prediction.identity import run_identity
from hear_exp.results.result import read_result
from hear_exp.prediction.search import search
problem, points = pickle.loads(Path(sys.argv[1]).read_bytes())
ended = []
def on_fit(outcome):
    ended.append(outcome)
    if len(ended) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    search(problem, points, 1, on_fit, store=FitStore(sys.argv[2], run_identity(problem, points)).open())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_a_killed_search_goes_on_where_it_was(kind, tmp_path, caplog, monkeypatch):
    """Killed after three fits; only the others are done, and the outcome is that of an uninterrupted search."""
    problem = make_problem(
        tmp_path, kind, folds=3, clips=9, noise=0.5, **({"seconds": 4.0} if kind == "events" else {})
    )
    identity = run_identity(problem, POINTS)
    (tmp_path / "problem").write_bytes(pickle.dumps((problem, POINTS)))
    arguments = [sys.executable, "-c", RUN, tmp_path / "problem", tmp_path / "fits", "3"]
    path = os.pathsep.join(sys.path)
    killed = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "fits" / identity.digest).glob("*.fit"))) == 3

    done, told = [], []
    monkeypatch.setattr(
        "hear_exp.prediction.search.run_fit", lambda p, job, report: done.append(job) or run_fit(p, job, report)
    )
    store = FitStore(tmp_path / "fits", run_identity(problem, POINTS)).open()
    with caplog.at_level(logging.INFO):
        outcome = search(problem, POINTS, 1, told.append, store=store)
    assert len(POINTS) == 3
    assert [(job.fold_index, job.point) for job in done] == [(1, outcome.winner), (2, outcome.winner)]
    assert len(told) == 5
    assert "3 of 3 fits found, kept by an earlier run that did not finish" in caplog.text

    whole = search(problem, POINTS, 1)
    assert outcome.winner == whole.winner
    for ours, theirs in zip((*outcome.grid, *outcome.folds), (*whole.grid, *whole.folds), strict=True):
        assert_equal(replace(ours, seconds=0.0), replace(theirs, seconds=0.0))

    done.clear()
    search(problem, POINTS, 1, store=store)  # all of them are there now
    assert done == []


def test_a_fit_that_was_damaged_is_the_only_one_done_again(multiclass, tmp_path, monkeypatch):
    store = FitStore(tmp_path, run_identity(multiclass, POINTS)).open()
    search(multiclass, POINTS, 1, store=store)
    next(store.folder.glob("*point001*")).write_bytes(b"nothing")
    done = []
    monkeypatch.setattr(
        "hear_exp.prediction.search.run_fit", lambda p, job, report: done.append(job) or run_fit(p, job, report)
    )
    search(multiclass, POINTS, 1, store=store)
    assert [job.point for job in done] == [1]


@pytest.mark.slow
def test_the_whole_command(start, tmp_path, monkeypatch):
    """A run that fails after its search leaves its fits; the same command uses them, and then they go."""
    arguments = (
        *("task=custom", f"task.path={write_task(tmp_path / 'task')}", "model=hear", "model.module=tiny_model"),
        *("logger=none", "search.workers=1", f"paths.root={tmp_path}", f"hydra.run.dir={tmp_path / 'runs' / 'one'}"),
        *("predictor.max_epochs=3", "predictor.lr=1e-2", "predictor.hidden_dim=8"),
    )

    def fail(*args, **options):
        raise UserError("no result today")

    with monkeypatch.context() as patch:
        patch.setattr("hear_exp.pipeline.make_result", fail)
        with pytest.raises(SystemExit):
            start(run, *arguments)
    (kept,) = (tmp_path / "data" / "fits").iterdir()
    fits = len(list(kept.glob("*.fit")))
    start(run, *arguments)
    said = f"{fits} of {fits} fits found, kept by an earlier run that did not finish"
    assert said in (tmp_path / "runs" / "one" / "run.log").read_text()
    assert read_result(tmp_path / "runs" / "one").identity == kept.name
    assert not kept.exists()
