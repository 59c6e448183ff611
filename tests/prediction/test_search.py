"""Folds and grid: selection, refits, ties; the same outcome from any number of workers, and from disk."""

import dataclasses
import math
import multiprocessing
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from tiny import grid, knn, linear, make_problem, mlp, same_weights

from hear_exp.embeddings.cache import Embeddings
from hear_exp.errors import UserError
from hear_exp.prediction import datamodule
from hear_exp.prediction.batches import check_batches
from hear_exp.prediction.fit import run_fit
from hear_exp.prediction.outcome import FitJob, FitOutcome
from hear_exp.prediction.problem import Problem
from hear_exp.prediction.search import SearchOutcome, best_point, pick_workers, search
from hear_exp.tasks.folder import Fold, folds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kfold(tmp_path_factory) -> Problem:
    """Three folds that are noisy enough for scores to differ."""
    return make_problem(tmp_path_factory.mktemp("kfold"), folds=3, clips=21, noise=0.5)


@pytest.fixture(scope="module")
def one_worker(kfold) -> SearchOutcome:
    return search(kfold, grid(lr=(1e-3, 1e-2), hidden_layers=(2,)), workers=1)


def assert_same(a: SearchOutcome, b: SearchOutcome) -> None:
    assert a.winner == b.winner
    for ours, theirs in zip((*a.grid, *a.folds), (*b.grid, *b.folds), strict=True):
        assert ours.job == theirs.job
        assert ours.curve == theirs.curve
        assert same_weights(ours.weights, theirs.weights)
        assert (ours.tested is None) == (theirs.tested is None)
        if ours.tested is not None:
            assert ours.tested.scores == theirs.tested.scores
            assert np.array_equal(ours.tested.probabilities, theirs.tested.probabilities)
            assert ours.tested.events == theirs.tested.events


# Same seed, same scores -------------------------------------------------------------------------------------


def test_two_workers_find_what_one_finds(kfold, one_worker):
    finished, progress = [], []
    outcome = search(
        kfold,
        grid(lr=(1e-3, 1e-2), hidden_layers=(2,)),
        workers=2,
        on_fit=finished.append,
        on_progress=lambda done, total, note: progress.append((done, total)),
    )
    assert_same(outcome, one_worker)
    assert sorted((fit.job.fold_index, fit.job.point) for fit in finished) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, outcome.winner),
        (2, outcome.winner),
    ]
    assert progress[0] == (0, 5)
    assert progress[-1] == (5, 5)


def test_again_the_same(kfold, one_worker):
    assert_same(search(kfold, grid(lr=(1e-3, 1e-2), hidden_layers=(2,)), workers=1), one_worker)


def test_another_seed_gives_other_weights(kfold, one_worker):
    other = search(replace(kfold, seed=43), grid(lr=(1e-3, 1e-2), hidden_layers=(2,)), workers=1)
    for ours, theirs in zip((*one_worker.grid, *one_worker.folds), (*other.grid, *other.folds), strict=True):
        assert not same_weights(ours.weights, theirs.weights)


@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_from_disk_as_from_memory(kind, request, monkeypatch):
    problem = request.getfixturevalue(kind)
    monkeypatch.setattr(datamodule, "BLOCK_BYTES", 5 * 16 * 4)  # five rows, so that an epoch has many blocks
    monkeypatch.setattr(datamodule, "WINDOW_BLOCKS", 2)
    points = [mlp(max_epochs=3)]
    assert_same(search(replace(problem, in_memory=False), points, 1), search(problem, points, 1))


# Folds ------------------------------------------------------------------------------------------------------


def test_the_winner_is_fitted_anew_on_the_other_folds(kfold, one_worker):
    triples = folds(kfold.task)
    assert [fit.job.fold for fit in one_worker.grid] == [triples[0]] * 3
    assert [fit.job.fold for fit in one_worker.folds] == list(triples)
    assert [fit.job.fold.test for fit in one_worker.folds] == ["fold00", "fold01", "fold02"]
    assert {fit.job.point for fit in one_worker.folds} == {one_worker.winner}
    winner = one_worker.grid[one_worker.winner]
    assert all(fit.job.hyperparameters == winner.job.hyperparameters for fit in one_worker.folds)
    assert all(fit.tested is None for fit in one_worker.grid)
    assert [fit.tested.split for fit in one_worker.folds] == ["fold00", "fold01", "fold02"]
    # The first fold's fit is not done again, the others are fits of their own.
    assert same_weights(one_worker.folds[0].weights, winner.weights)
    for fit in one_worker.folds[1:]:
        assert not same_weights(fit.weights, winner.weights)
        alone = run_fit(kfold, FitJob(one_worker.winner, winner.job.predictor, fit.job.fold_index, fit.job.fold, True))
        assert same_weights(alone.weights, fit.weights)
        assert alone.tested.scores == fit.tested.scores


def test_the_winner_has_the_best_validation_score(kfold, one_worker):
    scores = [fit.validation_score for fit in one_worker.grid]
    assert scores[one_worker.winner] == max(scores)
    assert len(set(scores)) > 1  # else this proves nothing


# Selection --------------------------------------------------------------------------------------------------


def outcomes(*values: float, monitor="score") -> list[FitOutcome]:
    """Fits with these monitored values; what is not monitored would choose another."""
    fits = []
    for i, value in enumerate(values):
        job = FitJob(i, mlp(), 0, Fold(("train",), "valid", "test"), False)
        score, loss = (value, float(i)) if monitor == "score" else (-float(i), value)
        fits.append(FitOutcome(job, score, 0, 1, "", None, (), {}, 0.0, validation_loss=loss, monitor=monitor))
    return fits


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.1, 0.3, 0.2), 1),
        ((0.1, 0.3, 0.3), 1),
        ((0.3, 0.3, 0.1), 0),
        ((math.nan, 0.0, 0.1), 2),
        ((math.nan, 0.0, math.nan), 1),
        ((math.nan, math.nan), 0),
    ],
)
def test_best_point_by_score(multiclass, scores, expected):
    assert best_point(outcomes(*scores), multiclass) == expected


@pytest.mark.parametrize(
    ("scores", "expected"), [((0.2, 0.1, 0.3), 1), ((0.1, 0.1), 0), ((math.nan, 5.0), 1), ((math.inf, 5.0), 1)]
)
def test_best_point_where_less_is_better(multiclass, events, scores, expected):
    by_loss = replace(multiclass, task=replace(multiclass.task, early_stop_on_score=False))
    assert best_point(outcomes(*scores, monitor="loss"), by_loss) == expected
    by_error_rate = replace(events, task=replace(events.task, metrics=("segment_1s_er",)))
    assert best_point(outcomes(*scores), by_error_rate) == expected


def test_neighbours_have_a_score_and_no_loss(kfold):
    by_loss = replace(kfold, task=replace(kfold.task, early_stop_on_score=False))
    outcome = search(by_loss, [knn(k=40, temperature=1e6), knn()], workers=1)
    assert outcome.winner == 1
    for fit in outcome.grid:
        assert (fit.monitor, fit.monitored) == ("score", fit.validation_score)
        assert 0 < fit.validation_score <= 1
        assert math.isnan(fit.validation_loss)


def test_ties_go_to_the_earlier_point(multiclass):
    outcome = search(multiclass, grid(lr=(1e-2, 2e-2)), workers=1)
    assert [fit.validation_score for fit in outcome.grid] == [1.0, 1.0]
    assert outcome.winner == 0


# Problems that can be learned -------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [mlp(), linear(), knn()], ids=["mlp", "linear", "knn"])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "events"])
@pytest.mark.parametrize("protocol", ["hear2021", "fixed"])
def test_learns(kind, point, protocol, request):
    problem = request.getfixturevalue(kind)
    if protocol == "hear2021":
        as_published = {
            "shuffle": False,
            "validation_without_events": "stop",
            "event_end": "last_frame",
            "median_widths": "as_computed",
            "probabilities": "float32",
            "postprocessing_choice": "largest",
        }
        problem = replace(problem, protocol=replace(problem.protocol, **as_published))
    outcome = search(problem, [point], workers=1)
    tested = outcome.folds[0].tested
    assert tested.scores[problem.task.primary_metric] > 0.95
    rows = problem.embeddings.split_range("test")
    assert tested.probabilities.shape == (len(rows), 3)
    if kind == "events":
        check_onsets(problem, tested.events)
    else:
        assert tested.events == {}


def check_onsets(problem: Problem, predicted) -> None:
    """Every reference event has an event that begins in its first frame, with the frame's centre as onset."""
    reference = problem.reference("test")
    assert list(predicted) == list(reference)
    expected = [(clip, e.label, e.start_ms + 25) for clip, events in reference.items() for e in events]
    found = [(clip, e.label, e.start_ms) for clip, events in predicted.items() for e in events]
    assert len(expected) == 6 * 5
    assert len(set(expected) & set(found)) >= 29
    assert len(found) <= 31


def test_loss_chooses_the_epoch_where_the_task_says_so(multiclass):
    problem = replace(multiclass, task=replace(multiclass.task, early_stop_on_score=False))
    point = mlp(lr=0.1, max_epochs=60, check_val_every_n_epoch=1, patience=4, dropout=0.0)
    fit = search(problem, [point], workers=1).folds[0]
    losses = [v.loss for v in fit.curve]
    assert all(math.isnan(v.score) for v in fit.curve)  # scores would only take time
    assert (fit.monitor, fit.monitored) == ("loss", fit.validation_loss)
    assert fit.validation_loss == min(losses)
    assert math.isnan(fit.validation_score)
    assert fit.epoch == losses.index(min(losses))
    assert fit.stopped_by == "patience"
    assert len(losses) == fit.epochs_run == fit.epoch + 1 + 4
    assert fit.tested.scores["top1_acc"] == 1.0


def test_loss_chooses_the_epoch_of_an_event_task(events):
    """Then the postprocessing is found once, for the epoch that was chosen."""
    problem = replace(events, task=replace(events.task, early_stop_on_score=False))
    fit = search(problem, [mlp()], workers=1).folds[0]
    assert fit.postprocessing.min_duration_ms == 250  # both find all events; the stronger one wins
    assert fit.validation_loss == min(v.loss for v in fit.curve)
    assert math.isnan(fit.validation_score)
    assert fit.tested.scores["event_onset_200ms_fms"] > 0.95


def test_validation_without_events(events, caplog):
    """An event of 100 s is never found: hear2021 ends the fit at once, fixed counts 0 and goes on."""
    never = replace(events.protocol, min_duration_ms=(100_000,))
    point = mlp(patience=3, check_val_every_n_epoch=1)
    zero = search(replace(events, protocol=never), [point], workers=1).folds[0]
    assert (zero.stopped_by, zero.epochs_run, zero.epoch) == ("patience", 4, 0)
    assert "ended early" not in caplog.text
    stopping = replace(never, validation_without_events="stop")
    stop = search(replace(events, protocol=stopping), [point], workers=1).folds[0]
    assert (stop.stopped_by, stop.epochs_run, stop.epoch) == ("score_undefined", 1, 0)
    assert "1 of 1 grid points ended early, the first after epoch 1" in caplog.text
    again = search(replace(events, protocol=stopping), [point], workers=1)
    (doubt,) = again.doubts
    assert doubt.startswith(
        "1 of 1 grid points ended early, the first after epoch 1, at a validation whose event_onset"
    )
    for fit in (zero, stop):
        assert math.isnan(fit.validation_score)
        assert not any(fit.tested.events.values())


def test_fits_that_ended_at_max_epochs_are_a_doubt(kfold, one_worker, caplog):
    ended = [fit.stopped_by for fit in one_worker.folds]
    assert ended == ["max_epochs"] * 3
    (doubt,) = one_worker.doubts
    epochs = ", ".join(str(fit.epoch + 1) for fit in one_worker.folds)
    assert doubt == (
        "3 of 3 fits of the winner and 3 of 3 grid points ended at max_epochs, not by patience (the winner's 12 "
        f"epochs, its best one {epochs}): the score may still rise with a larger predictor.max_epochs"
    )
    assert search(kfold, [mlp(lr=1e-12, patience=2, max_epochs=100)], workers=1).doubts == ()
    assert "max_epochs" not in caplog.text
    assert search(kfold, [knn()], workers=1).doubts == ()
    search(kfold, [mlp(max_epochs=3)], workers=1)
    assert caplog.text.count("ended at max_epochs") == 1  # said once


def test_last_batch_of_one_row(multiclass):
    """13 training clips in batches of 4."""
    stopping = replace(multiclass, protocol=replace(multiclass.protocol, last_batch_of_one="error"))
    point = mlp(batch_size=4, max_epochs=3)
    sentence = "^13 training rows in batches of 4 leave a last batch of one row, .*protocol=fixed joins it"
    for workers in (1, 2):  # the sentence comes out of a worker process as well
        with pytest.raises(UserError, match=sentence):
            search(stopping, [point, point], workers=workers)
    assert search(multiclass, [point], workers=1).folds[0].epochs_run == 3
    assert search(stopping, [linear(batch_size=4, max_epochs=3)], workers=1).folds[0].epochs_run == 3


def test_batches_of_one_row_are_found_on_all_folds_before_any_fit(kfold):
    """21 clips a fold: train is 21 rows on each, in batches of 4 and of 20 one is left over, of 8 none is."""
    stopping = replace(kfold, protocol=replace(kfold.protocol, last_batch_of_one="error"))
    sentence = (
        r"^21 training rows in batches of 4 leave a last batch of one row \(tested on fold00, fold01, fold02\); "
        r"21 training rows in batches of 20 leave a last batch of one row \(tested on fold00, fold01, fold02\), on "
        "which BatchNorm cannot train: HEAR 2021 stopped here too; protocol=fixed joins it"
    )
    points, fitted = grid(batch_size=(20, 8, 4, 20)), []
    with pytest.raises(UserError, match=sentence):
        search(stopping, points, workers=1, on_fit=fitted.append)
    assert fitted == []
    with pytest.raises(UserError, match=sentence):  # clips are counted before they are embedded
        check_batches(stopping.task, stopping.protocol, points)
    check_batches(stopping.task, stopping.protocol, [linear(batch_size=4), knn()])
    check_batches(kfold.task, kfold.protocol, points)
    with pytest.raises(UserError, match=r"^training needs at least two rows a batch"):
        check_batches(kfold.task, kfold.protocol, grid(batch_size=(1,)))


def test_batches_of_frames_are_known_once_they_are_embedded(events):
    stopping = replace(events, protocol=replace(events.protocol, last_batch_of_one="error"))
    rows = len(events.embeddings.split_range("train"))
    points = grid(batch_size=(rows - 1,))
    check_batches(stopping.task, stopping.protocol, points)
    with pytest.raises(UserError, match=rf"^{rows} training rows in batches of {rows - 1} leave"):
        search(stopping, points, workers=1)


# Numbers that overflow --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scaled(Embeddings):
    """Embeddings times ``factor``, the first value ``first``."""

    factor: float = 1.0
    first: float = 0.0

    def array(self) -> np.ndarray:
        array = super().array() * np.float32(self.factor)
        array[0, 0] = self.first
        return array


def scaled(problem: Problem, **options) -> Problem:
    fields = {field.name: getattr(problem.embeddings, field.name) for field in dataclasses.fields(Embeddings)}
    return replace(problem, embeddings=Scaled(**fields, **options))


@pytest.mark.parametrize("point", [mlp(), linear(), knn()], ids=["mlp", "linear", "knn"])
@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_embeddings_that_overflow_are_refused_before_training(kind, point, request):
    problem, fitted = request.getfixturevalue(kind), []
    for changes, described in (
        (
            {"factor": 1e30},
            r"float32 values from .* to .*e\+\d\d, all of them finite; .*magnitudes up to 4\.61e\+18",
        ),
        ({"first": math.nan}, r"float32 values from .*, \d\.\d+% of them not finite; "),
        ({"first": -math.inf}, r"float32 values from .*, \d\.\d+% of them not finite; "),
    ):
        sentence = rf"^no predictor can train on these embeddings \(.*\): {described}.*float16.*normalisation"
        with pytest.raises(UserError, match=sentence):
            search(scaled(problem, **changes), [point], workers=1, on_fit=fitted.append)
    assert fitted == []


def test_float16_overflows_earlier_and_float64_later(multiclass):
    large = scaled(multiclass, first=1e5)
    with pytest.raises(UserError, match=r"trainer\.precision=16-mixed magnitudes up to 6\.55e\+04 work"):
        search(replace(large, precision="16-mixed"), [mlp()], workers=1)
    search(large, [mlp(max_epochs=3)], workers=1)
    search(replace(scaled(multiclass, factor=1e30), precision="64-true"), [mlp(max_epochs=3)], workers=1)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "events"])
@pytest.mark.parametrize("by_loss", [False, True])
def test_all_grid_points_that_diverge_at_once_are_a_sentence(kind, by_loss, request):
    problem = request.getfixturevalue(kind)
    problem = replace(problem, task=replace(problem.task, early_stop_on_score=not by_loss))
    sentence = (
        r"^all 2 grid points ended with loss that is not finite at their first validation; the embeddings \(.*\) are "
        r"float32 values from \S+ to \S+, all of them finite: try a predictor\.lr below 1e\+38, or .*float16"
    )
    with pytest.raises(UserError, match=sentence):
        search(problem, grid(lr=(2e38, 1e38)), workers=1)
    outcome = search(problem, grid(lr=(1e38, 1e-2)), workers=1)  # one of them that is well is enough
    assert outcome.winner == 1


@pytest.mark.parametrize("kind", ["multiclass", "events"])
def test_neighbours_whose_distances_overflow_are_a_sentence(kind, request, monkeypatch):
    monkeypatch.setattr("hear_exp.prediction.search.check_range", lambda problem: None)
    problem = scaled(request.getfixturevalue(kind), first=math.nan)
    with pytest.raises(
        UserError, match=r"^all 1 grid points ended with distances that are not finite .* try embeddings"
    ):
        search(problem, [knn(k=1000)], workers=1)


# Workers ----------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_a_sentence(multiclass):
    killed = []

    def kill(done, total, note):
        if not killed and note:  # a fit is under way
            killed.extend(multiprocessing.active_children()[:1])
            killed[0].kill()

    endless = mlp(max_epochs=100_000, patience=100_000)
    with pytest.raises(UserError, match=r"^a search worker died.*memory.*search\.workers=1 .*are kept.*"):
        search(multiclass, [endless, endless], workers=2, on_progress=kill)
    assert killed
    wait_for_no_children()


def test_interrupted_workers_end(multiclass):
    def interrupt(done, total, note):
        if note:
            raise KeyboardInterrupt

    endless = mlp(max_epochs=100_000, patience=100_000)
    with pytest.raises(KeyboardInterrupt):
        search(multiclass, [endless, endless], workers=2, on_progress=interrupt)
    wait_for_no_children()


def wait_for_no_children() -> None:
    end = time.monotonic() + 10
    while multiprocessing.active_children():
        assert time.monotonic() < end, "a worker lives on"
        time.sleep(0.02)


def test_pick_workers(multiclass, monkeypatch):
    monkeypatch.setattr("hear_exp.prediction.search.cpu_count", lambda: 6)
    assert pick_workers("auto", 20, multiclass) == 6
    assert pick_workers("auto", 4, multiclass) == 4
    assert pick_workers("auto", 20, replace(multiclass, threads=4)) == 1
    assert pick_workers("auto", 20, replace(multiclass, threads=8)) == 1
    assert pick_workers("auto", 20, replace(multiclass, accelerator="cuda")) == 1
    assert pick_workers(9, 20, multiclass) == 9
    assert pick_workers(9, 3, multiclass) == 3
