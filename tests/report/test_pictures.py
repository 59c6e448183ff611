from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated import event_outcome, event_problem, result_of, scene_outcome, scene_problem
from matplotlib.colors import to_hex

from hear_exp.report.event_roll import event_rolls, matched_onsets, onset_collar
from hear_exp.report.figures import number, settings
from hear_exp.report.pictures import confusion_shares, draw_pictures
from hear_exp.scoring.event import Event
from hear_exp.scoring.scores import event_scores

pytestmark = pytest.mark.slow


def draw(folder, problem, outcome) -> list[str]:
    """Names of the pictures, all of which exist as PNG files of more than a few bytes."""
    pictures = draw_pictures(folder, problem, outcome, result_of(problem, outcome))
    for picture in pictures:
        assert picture.parent == folder / "plots"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 5000
    return [picture.stem for picture in pictures]


@pytest.mark.parametrize("labels", [2, 5, 40, 120])
def test_multiclass(tmp_path, labels):
    problem = scene_problem(tmp_path, [f"label {i}" for i in range(labels)], without=["label 1"])
    assert draw(tmp_path, problem, scene_outcome(problem)) == ["learning_curve", "grid", "confusion"]


def test_folds(tmp_path):
    problem = scene_problem(tmp_path, ["a", "b"], kfold=True)
    assert draw(tmp_path, problem, scene_outcome(problem)) == ["learning_curve", "grid", "confusion"]


def test_selection_by_loss(tmp_path):
    problem = scene_problem(tmp_path, ["a", "b"], early_stop_on_score=False)
    assert draw(tmp_path, problem, scene_outcome(problem)) == ["learning_curve", "grid", "confusion"]


def test_nothing_trained(tmp_path):
    problem = scene_problem(tmp_path, ["a", "b"])
    assert draw(tmp_path, problem, scene_outcome(problem, curves=False)) == ["grid", "confusion"]


def test_one_grid_point_and_one_validation(tmp_path):
    problem = scene_problem(tmp_path, ["a", "b"])
    outcome = scene_outcome(problem)
    only = replace(outcome.folds[0], curve=outcome.folds[0].curve[:1])
    outcome = replace(outcome, grid=outcome.grid[outcome.winner : outcome.winner + 1], winner=0, folds=(only,))
    assert draw(tmp_path, problem, outcome) == ["learning_curve", "confusion"]


def test_undefined_validation_scores(tmp_path):
    problem = scene_problem(tmp_path, ["a", "b"])
    outcome = scene_outcome(problem)
    grid = tuple(replace(fit, validation_score=math.nan) for fit in outcome.grid)
    folds = tuple(replace(fit, validation_score=math.nan) for fit in outcome.folds)
    outcome = replace(outcome, grid=grid, folds=folds, winner=0)
    assert draw(tmp_path, problem, outcome) == ["learning_curve", "grid", "confusion"]


@pytest.mark.parametrize("labels", [3, 100])
def test_multilabel(tmp_path, labels):
    names = ["$ nobody has this _", "犬", *(f"label {i}" for i in range(labels))]
    problem = scene_problem(tmp_path, names, prediction_type="multilabel", metrics=["mAP"], without=names[:1])
    assert draw(tmp_path, problem, scene_outcome(problem)) == ["learning_curve", "grid", "average_precision"]


def busy_clip(events: int) -> list[Event]:
    return [Event("ab"[i % 2], 100.0 * i, 100.0 * i + 80) for i in range(events)]


@pytest.mark.parametrize(
    ("references", "predicted"),
    [
        ([[Event("a", 0, 500), Event("b", 600, 900)]], [[Event("a", 50, 50), Event("b", 0, 100)]]),
        ([[Event("a", 0, 500)], [Event("b", 0, 500)]], [[], []]),
        ([[Event("a", 0, 500)], []], [[], [Event("b", 100, 200)]]),
        ([busy_clip(300)] * 4, [busy_clip(290)] * 3 + [[]]),
    ],
    ids=["one clip", "none predicted", "none to predict", "busy clips"],
)
def test_events(tmp_path, references, predicted):
    problem = event_problem(tmp_path, references, ["a", "b", "unused"])
    outcome = event_outcome(problem, predicted)
    assert draw(tmp_path, problem, outcome) == ["learning_curve", "grid", "events"]


def test_many_event_labels(tmp_path):
    labels = [f"{i}" for i in range(88)]
    events = [Event(label, 10.0 * i, 10.0 * i + 50) for i, label in enumerate(labels)]
    problem = event_problem(tmp_path, [events] * 3, labels)
    assert "events" in draw(tmp_path, problem, event_outcome(problem, [events[:40]] * 3))


def test_no_events_at_all(tmp_path):
    problem = event_problem(tmp_path, [[]], ["a"])
    assert draw(tmp_path, problem, event_outcome(problem, [[]])) == ["learning_curve", "grid"]


def test_confusion_shares():
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.3, 0.7, 0]])
    targets = np.eye(3)[[0, 0, 1]]
    expected = [[0.5, 0.5, 0], [0, 1, 0], [np.nan] * 3]
    np.testing.assert_array_equal(confusion_shares(probabilities, targets), expected)


def test_matched_onsets():
    reference = [Event("a", 0, 1), Event("a", 300, 301), Event("b", 0, 1)]
    predicted = [Event("a", 200, 201), Event("a", 700, 701), Event("b", 201, 202), Event("c", 0, 1)]
    assert matched_onsets(reference, predicted, 200) == ({0}, {0})
    assert matched_onsets(reference, [], 200) == (set(), set())


@pytest.mark.parametrize(
    ("metric", "collar_ms", "left_out"),
    [
        ("event_onset_200ms_fms", 200, ""),
        ("event_onset_50ms_fms", 50, ""),
        ("event_onset_offset_50ms_20perc_fms", 50, "also asks for ends within 50 ms or 20 % of the length"),
        ("segment_1s_er", 200, "itself compares segments of 1 s"),
    ],
)
def test_events_are_matched_as_the_primary_score_does(metric, collar_ms, left_out):
    assert onset_collar(metric) == (pytest.approx(collar_ms), f"{metric} {left_out}" if left_out else "")


@pytest.mark.parametrize(
    ("metric", "colour"), [("event_onset_200ms_fms", "009E73"), ("event_onset_50ms_fms", "D55E00")]
)
def test_an_onset_of_100_ms_off_is_right_or_wrong_in_the_picture(tmp_path, metric, colour):
    """The bar's colour and the legend follow the collar of the task's primary score."""
    problem = event_problem(tmp_path, [[Event("a", 1000, 1500)]], ["a", "b"])
    problem = replace(problem, task=replace(problem.task, metrics=(metric,)))
    outcome = event_outcome(problem, [[Event("a", 1100, 1500)]])
    figure = event_rolls(problem, outcome, result_of(problem, outcome))
    predicted = figure.axes[0].collections[-1]
    assert to_hex(predicted.get_facecolor()[0]).upper() == f"#{colour}"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"predicted, onset within {metric.split('_')[2].removesuffix('ms')} ms" in legend


def test_names_that_no_font_and_no_formula_takes(tmp_path):
    """Glyphs that are missing, broken mathtext, line breaks, control characters and very long names."""
    names = ["$\\frac{", "a$b$", "犬\n猫", "\x1b[2J\x00", "\ud800", "\U0010fffd", "x" * 500, "%s {}"]
    for kind in ("multiclass", "multilabel"):
        problem = scene_problem(tmp_path / kind, names, prediction_type=kind, metrics=["mAP"])
        problem = replace(problem, task=replace(problem.task, name="$\\sum{\x1b"))
        assert len(draw(tmp_path / kind, problem, scene_outcome(problem))) == 3
    events = [[Event(name, 100.0 * i, 100.0 * i + 50) for i, name in enumerate(names)]]
    problem = event_problem(tmp_path / "events", events, names)
    assert "events" in draw(tmp_path / "events", problem, event_outcome(problem, events))


def test_matched_onsets_agree_with_the_score():
    rng = np.random.default_rng(0)
    for _ in range(20):
        starts = rng.integers(0, 3000, 30) / 1.0
        events = [Event("ab"[i % 2], start, start + 10) for i, start in enumerate(starts)]
        reference, predicted = events[:17], events[17:]
        found, correct = matched_onsets(reference, predicted, 200)
        scores = event_scores(["event_onset_200ms_fms"], {"x": predicted}, {"x": reference}, ["a", "b"])
        assert len(found) == len(correct)
        assert len(found) / 17 == pytest.approx(scores["event_onset_200ms_fms_recall"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.81234, "0.8123"), (0.0, "0.0000"), (2.5, "2.5000"), (1234567.0, "1.235e+06"), (None, "undefined")],
)
def test_number(value, text):
    assert number(value) == text


def test_settings():
    values = {"lr": 3.2e-4, "hidden_dim": 1024, "init": "xavier", "on": True}
    assert settings(values) == "lr 0.00032, hidden_dim 1024, init xavier, on True"


def test_pyplot_stays_out():
    import subprocess
    import sys

    code = "import sys, hear_exp.report.pictures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert "pyplot" not in "".join(
        line for line in Path(draw_pictures.__code__.co_filename).read_text().splitlines() if "import" in line
    )
