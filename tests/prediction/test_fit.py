"""One fit: against a plain training loop, its epochs, and how a validation is judged."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import SETTINGS, knn, mlp
from torch.nn import functional as F

from hear_exp.errors import UserError
from hear_exp.prediction.fit import make_module, run_fit, run_test
from hear_exp.prediction.network import PredictorNetwork
from hear_exp.prediction.outcome import FitJob
from hear_exp.prediction.problem import Problem
from hear_exp.scoring.decode import Postprocessing
from hear_exp.scoring.event import Event
from hear_exp.tasks.folder import folds


def fit(problem: Problem, *, test: bool = False, point: int = 0, report=lambda note: None, **changes):
    return run_fit(problem, FitJob(point, mlp(**changes), 0, folds(problem.task)[0], test), report)


# Training ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_against_a_plain_loop(kind, hidden_layers, request):
    """The same batches, loss and optimizer, written out; unshuffled and without dropout."""
    problem = request.getfixturevalue(kind)
    problem = replace(problem, protocol=replace(problem.protocol, shuffle=False))
    changes = {
        "dropout": 0.0,
        "max_epochs": 4,
        "check_val_every_n_epoch": 1,
        "batch_size": 5,
        "hidden_layers": hidden_layers,
    }
    outcome = fit(problem, **changes)

    torch.manual_seed(int(np.random.SeedSequence([problem.seed, 0, 0]).generate_state(1)[0]))
    network = PredictorNetwork(16, 3, hidden_layers=hidden_layers, hidden_dim=32, dropout=0.0)
    # Fused as well: the gradient of a bias before BatchNorm is rounding, from which Adam makes steps of full size.
    optimizer = torch.optim.Adam(network.parameters(), lr=SETTINGS["lr"], fused=True)
    x, y = torch.from_numpy(problem.embeddings.array()), torch.from_numpy(problem.targets())

    def loss_of(rows: slice) -> torch.Tensor:
        if kind == "multiclass":
            return F.cross_entropy(network(x[rows]), y[rows].argmax(dim=1))
        return F.binary_cross_entropy_with_logits(network(x[rows]), y[rows].float())

    train, valid = (problem.embeddings.split_range(split) for split in ("train", "valid"))
    losses, states = [], []
    for _ in range(4):
        network.train()
        for start in range(train.start, train.stop, 5):
            optimizer.zero_grad()
            loss_of(slice(start, min(start + 5, train.stop))).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            losses.append(float(loss_of(slice(valid.start, valid.stop))))
        states.append({name: value.clone().numpy() for name, value in network.state_dict().items()})

    assert [v.loss for v in outcome.curve] == pytest.approx(losses, rel=1e-4)
    expected = states[outcome.epoch]
    assert outcome.weights.keys() == expected.keys()
    for name, value in outcome.weights.items():
        assert value == pytest.approx(expected[name], rel=1e-3, abs=1e-5)


def test_same_outcome_whatever_was_computed_before(multiclass):
    first = fit(multiclass)
    torch.manual_seed(999)
    torch.rand(7)
    threads = torch.get_num_threads()
    again = fit(multiclass)
    assert first.curve == again.curve
    assert all(np.array_equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("change", [{"point": 1}, {"dropout": 0.5}])
def test_grid_points_have_weights_of_their_own(multiclass, change):
    first, other = fit(multiclass), fit(multiclass, **change)
    assert not np.array_equal(first.weights["layers.0.weight"], other.weights["layers.0.weight"])


def test_threads_are_put_back(multiclass):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        fit(replace(multiclass, threads=1), max_epochs=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_epochs(multiclass):
    """Validated every third epoch, counted from 0; a point that never improves stops after its patience."""
    notes = []
    outcome = fit(multiclass, max_epochs=10, report=notes.append)
    assert [v.epoch for v in outcome.curve] == [2, 5, 8]
    assert (outcome.epochs_run, outcome.stopped_by) == (10, "max_epochs")
    assert outcome.epoch in (2, 5, 8)
    assert outcome.validation_score == outcome.monitored == max(v.score for v in outcome.curve)
    assert outcome.validation_loss == next(v.loss for v in outcome.curve if v.epoch == outcome.epoch)
    assert [note.split(",")[0] for note in notes] == ["epoch 3/10", "epoch 6/10", "epoch 9/10"]
    assert notes[0].endswith(f"validation score {outcome.curve[0].score:.3f}")
    assert outcome.seconds > 0
    assert outcome.tested is None
    stopped = fit(multiclass, lr=1e-12, patience=2, max_epochs=100)
    assert [v.epoch for v in stopped.curve] == [2, 5, 8]
    assert (stopped.epochs_run, stopped.epoch, stopped.stopped_by) == (9, 2, "patience")


def test_no_validation_took_place(multiclass):
    with pytest.raises(
        UserError,
        match=r"^no validation took place: predictor\.max_epochs=2 ends before the first one "
        r"\(predictor\.check_val_every_n_epoch=3\)$",
    ):
        fit(multiclass, max_epochs=2)


def test_training_that_diverges(multiclass):
    """NaN weights are told from bad ones: the fit ends, and the best epoch before is kept."""
    outcome = fit(multiclass, lr=1e38, max_epochs=30, check_val_every_n_epoch=1)
    assert outcome.stopped_by == "loss_not_finite"
    assert outcome.epochs_run < 30


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_float64_all_the_way(kind, request):
    """Weights, losses and probabilities are those of float64 arithmetic, not float32 ones in a wider type."""
    problem = replace(request.getfixturevalue(kind), precision="64-true")
    outcome = fit(problem, test=True)
    single = fit(replace(problem, precision="32-true"), test=True)
    for name, value in outcome.weights.items():
        if name != "layers.1.num_batches_tracked":
            assert value.dtype == np.float64
            assert not np.array_equal(value, value.astype(np.float32))
            assert not np.array_equal(value, single.weights[name])
    network = PredictorNetwork(16, 3, hidden_layers=1, hidden_dim=32).double().eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in outcome.weights.items()})

    def logits(split: str) -> torch.Tensor:
        rows = problem.embeddings.split_range(split)
        with torch.no_grad():
            return network(torch.from_numpy(problem.embeddings.array()[rows.start : rows.stop]).double())

    activated = logits("test").softmax(dim=1) if kind == "multiclass" else logits("test").sigmoid()
    assert outcome.tested.probabilities.dtype == np.float64
    assert np.abs(outcome.tested.probabilities - activated.numpy()).max() < 1e-13
    targets = torch.from_numpy(problem.targets()[problem.embeddings.split_range("valid")])
    if kind == "multiclass":
        expected = F.cross_entropy(logits("valid"), targets.argmax(dim=1))
    else:
        expected = F.binary_cross_entropy_with_logits(logits("valid"), targets.double())
    assert outcome.validation_loss == pytest.approx(float(expected), rel=1e-13)


def test_float64_neighbours(multiclass):
    job = FitJob(0, knn(k=5, metric="euclidean", temperature=0.5), 0, folds(multiclass.task)[0], True)
    double, single = (run_fit(replace(multiclass, precision=p), job).tested for p in ("64-true", "32-true"))
    assert (double.probabilities.dtype, single.probabilities.dtype) == (np.float64, np.float32)
    assert double.probabilities == pytest.approx(single.probabilities, abs=1e-4)
    assert not np.array_equal(double.probabilities, double.probabilities.astype(np.float32))


def test_predictions_that_are_not_finite_are_a_sentence(multiclass):
    """A fold on which the winner's settings diverge, after a grid that was well."""
    with pytest.raises(
        UserError,
        match=r"^the predictor chosen on validation predicts values that are not finite on test \(its fit ended by "
        r"loss_not_finite in epoch 3\); the embeddings \(.*\) are float32 values from .* to .*, all of them finite",
    ):
        fit(multiclass, test=True, lr=1e38)


def test_the_best_epoch_is_tested(multiclass):
    outcome = fit(multiclass, test=True)
    network = PredictorNetwork(16, 3, hidden_layers=1, hidden_dim=32)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in outcome.weights.items()})
    rows = multiclass.embeddings.split_range("test")
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(multiclass.embeddings.array()[rows.start : rows.stop]))
    expected = torch.softmax(logits.double(), dim=1).numpy()
    assert outcome.tested.probabilities == pytest.approx(expected, abs=1e-6)
    right = expected.argmax(axis=1) == multiclass.targets()[rows.start : rows.stop].argmax(axis=1)
    assert outcome.tested.scores["top1_acc"] == pytest.approx(right.mean())
    assert run_test(multiclass, outcome).scores == outcome.tested.scores


# Judging event predictions ----------------------------------------------------------------------------------


@pytest.fixture
def frames(events) -> tuple[Problem, np.ndarray]:
    """The event problem, and frame probabilities of its validation split that are exactly its targets."""
    rows = events.embeddings.split_range("valid")
    return events, events.targets()[rows.start : rows.stop].astype(np.float64)


def judge(problem: Problem, values: np.ndarray, metric: str = "event_onset_200ms_fms", **protocol):
    task = replace(problem.task, metrics=(metric,))
    problem = replace(problem, task=task, protocol=replace(problem.protocol, median_filter_ms=(0,), **protocol))
    return judged(problem, values)


def judged(problem: Problem, values: np.ndarray):
    """The validation's score of logits whose probabilities are ``values``."""
    module = make_module(problem, FitJob(0, mlp(), 0, folds(problem.task)[0], False))
    return module.judge(values) if np.isfinite(values).all() else module.score(torch.from_numpy(values))


def test_reference_has_the_clips_in_the_order_of_the_cache(events):
    reference = events.reference("valid")
    assert list(reference) == [clip.name for clip in events.embeddings.splits["valid"]]
    assert sorted(reference) == sorted(clip.name for clip in events.task.split("valid").clips)
    clip = events.task.split("valid").clips[2]
    assert reference[clip.name] == clip.events
    assert isinstance(clip.events[0], Event)


def test_perfect_frames_score_one(frames):
    score, postprocessing = judge(*frames, min_duration_ms=(125,))
    assert (score, postprocessing) == (1.0, Postprocessing(0, 125))


def test_best_postprocessing_on_validation(frames):
    """An event lasts 8 frames of 50 ms, so a minimum of 1 s finds none, and 300 ms drops the false ones."""
    problem, values = frames
    values = values.copy()
    values[2:4, :] = 1  # 100 ms of everything in the first clip, 100 ms before any event
    score, postprocessing = judge(problem, values, min_duration_ms=(0, 300, 1000))
    assert (score, postprocessing) == (1.0, Postprocessing(0, 300))


def test_on_a_tie_the_stronger_smoothing_wins(frames):
    assert judge(*frames, min_duration_ms=(250, 0, 125))[1] == Postprocessing(0, 250)


def test_undefined_is_not_better_than_bad(frames):
    """Without predicted events the F-measure is nan, which HEAR 2021 sorted as 0."""
    problem, values = frames
    score, postprocessing = judge(problem, values, min_duration_ms=(0, 1000))
    assert (score, postprocessing) == (1.0, Postprocessing(0, 0))
    score, _ = judge(problem, np.zeros_like(values), min_duration_ms=(0, 1000))
    assert math.isnan(score)


@pytest.mark.parametrize(("choice", "expected"), [("largest", 1000), ("best", 0)])
def test_hear2021_takes_the_largest_error_rate(frames, choice, expected):
    """The trap: 'best' meant the largest score, although of an error rate the smallest is best."""
    score, postprocessing = judge(
        *frames, metric="segment_1s_er", min_duration_ms=(0, 1000), postprocessing_choice=choice
    )
    assert postprocessing == Postprocessing(0, expected)
    assert score == pytest.approx(1.0) if choice == "largest" else score < 0.5


def test_probabilities_that_are_not_finite_have_no_score(frames, multiclass):
    problem, values = frames
    values = values.copy()
    values[5, 1] = np.nan
    score, postprocessing = judge(problem, values)
    assert math.isnan(score)
    assert postprocessing is None


@pytest.mark.parametrize("rule", ["first_label", "any_label"])
def test_the_protocol_says_what_is_right_for_clips_with_any_number_of_labels(multilabel, rule):
    """In validation and in test; every fourth clip has no label."""
    task = replace(multilabel.task, metrics=("top1_acc", "mAP"))
    problem = replace(multilabel, task=task, protocol=replace(multilabel.protocol, multilabel_accuracy=rule))
    rows = problem.embeddings.split_range("test")
    truth = problem.targets()[rows.start : rows.stop]
    assert set(truth.sum(axis=1)) > {0, 1, 2}
    outcome = fit(problem, test=True, max_epochs=3)
    best = outcome.tested.probabilities.argmax(axis=1)
    hits, labelled = truth[np.arange(len(truth)), best] == 1, truth.any(axis=1)
    expected = {"first_label": (truth.argmax(axis=1) == best).mean(), "any_label": hits[labelled].mean()}
    assert expected["first_label"] != expected["any_label"]
    assert outcome.tested.scores["top1_acc"] == expected[rule]
    assert outcome.validation_score == pytest.approx(judged(problem, _valid_probabilities(problem, outcome))[0])


def _valid_probabilities(problem, outcome):
    job = replace(outcome.job, fold=replace(outcome.job.fold, test="valid"))
    return run_test(problem, replace(outcome, job=job)).probabilities


def test_an_undefined_test_score_comes_with_its_reason(multiclass, events):
    silent = replace(events.task, splits=tuple(_silent(split) for split in events.task.splits))
    outcome = fit(replace(events, task=silent), test=True, max_epochs=3)
    assert outcome.tested.undefined["segment_1s_er"] == "no event is annotated"
    assert outcome.tested.undefined["event_onset_200ms_fms_recall"] == "no event is annotated"
    assert math.isnan(outcome.tested.scores["segment_1s_er"])
    perfect = fit(replace(multiclass, task=replace(multiclass.task, metrics=("top1_acc", "d_prime"))), test=True)
    assert perfect.tested.scores["d_prime"] == math.inf
    assert perfect.tested.undefined == {"d_prime_finite": "no label has a finite d'"}


def _silent(split):
    return replace(split, clips=tuple(replace(clip, events=()) for clip in split.clips))
