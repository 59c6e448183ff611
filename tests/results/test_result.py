"""result.json and what stands beside it."""

import csv
import json
import math
import os
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from fabricated import result_of, scene_outcome, scene_problem
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny import knn, mlp

from hear_exp.errors import UserError
from hear_exp.prediction.network import PredictorNetwork
from hear_exp.prediction.search import search
from hear_exp.results.beside import write_curves, write_predictions, write_predictor
from hear_exp.results.gather import fold_scores, undefined_scores
from hear_exp.results.result import Result, read_result, write_result


@pytest.fixture
def found(tmp_path):
    """A made-up search over three folds: (problem, outcome, result)."""
    problem = scene_problem(tmp_path / "made_up", ["a", "b", "c"], kfold=True, metrics=("top1_acc", "mAP"))
    outcome = scene_outcome(problem)
    return problem, outcome, result_of(problem, outcome)


# Folds ------------------------------------------------------------------------------------------------------


def test_one_fold_has_its_scores_and_no_spread():
    assert fold_scores([{"mAP": 0.5, "aucroc": None}]) == {"mAP": 0.5, "aucroc": None}


def test_mean_and_standard_deviation_over_folds():
    """Of 1, 2 and 6: mean 3, standard deviation sqrt((4 + 1 + 9) / 2) with ddof 1."""
    scores = fold_scores([{"a": 1.0, "b": 0.5}, {"a": 2.0, "b": 0.5}, {"a": 6.0, "b": 0.5}])
    assert scores == {
        "a": 3.0,
        "a_mean": 3.0,
        "a_std": pytest.approx(math.sqrt(7), rel=1e-12),
        "b": 0.5,
        "b_mean": 0.5,
        "b_std": 0.0,
    }


def test_a_score_that_is_undefined_on_a_fold_is_undefined():
    scores = fold_scores([{"a": 1.0, "b": 1.0}, {"a": None, "b": 2.0}])
    assert (scores["a"], scores["a_mean"], scores["a_std"]) == (None, None, None)
    assert scores["b"] == 1.5


def test_a_score_that_is_infinite_on_a_fold():
    scores = fold_scores([{"a": 1.0, "b": math.inf}, {"a": math.inf, "b": -math.inf}])
    assert (scores["a"], scores["a_std"], scores["b"], scores["b_std"]) == (math.inf, None, None, None)


def test_every_undefined_score_has_its_reason(found):
    result = found[2]
    changes = [{"x": 1.0, "y": None, "z": math.inf}, {"x": 2.0, "y": 0.5, "z": 1.0}, {"x": 3.0, "y": None, "z": 1.0}]
    whys = [{"y": "no positives of a"}, {}, {"y": "no positives of a"}]
    folds = [
        replace(fold, scores=scores, undefined=why)
        for fold, scores, why in zip(result.folds, changes, whys, strict=True)
    ]
    why = "on fold00, fold02: no positives of a"
    assert undefined_scores(folds) == {"y": why, "y_mean": why, "y_std": why, "z_std": "infinite on fold00"}
    assert undefined_scores(folds[:1]) == {"y": "no positives of a"}


# The record -------------------------------------------------------------------------------------------------


def test_what_a_result_says(found):
    problem, outcome, result = found
    accuracies = [fit.tested.scores["top1_acc"] for fit in outcome.folds]
    assert result.score == result.scores["top1_acc_mean"] == pytest.approx(np.mean(accuracies))
    assert result.spread == pytest.approx(np.std(accuracies, ddof=1))
    assert (result.task, result.primary_metric, result.higher_is_better) == ("demo_scene", "top1_acc", True)
    assert [fold.test_split for fold in result.folds] == ["fold00", "fold01", "fold02"]
    assert [dict(fold.scores) for fold in result.folds] == [dict(fit.tested.scores) for fit in outcome.folds]
    assert result.validation_score == outcome.grid[outcome.winner].validation_score
    assert result.hyperparameters == outcome.grid[outcome.winner].job.hyperparameters
    assert [point.hyperparameters for point in result.grid] == [fit.job.hyperparameters for fit in outcome.grid]
    assert result.clips == 600
    assert result.embedding_key == problem.embeddings.key
    assert result.seconds == {"embed": 1.235, "search": 12.3, "test": 0.4}
    assert (
        result.versions["torch"] == torch.__version__.partition("+")[0] or result.versions["torch"] == torch.__version__
    )
    assert {"python", "hear_exp", "torchmetrics", "sed_eval", "numpy"} <= result.versions.keys()


def test_undefined_scores_are_none(found):
    problem, outcome, _ = found
    fits = [replace(fit, validation_score=math.nan) for fit in outcome.grid]
    tested = replace(outcome.folds[1].tested, scores={"top1_acc": 0.5, "mAP": math.nan})
    folds = (outcome.folds[0], replace(outcome.folds[1], tested=tested), outcome.folds[2])
    result = result_of(problem, replace(outcome, grid=tuple(fits), folds=folds))
    assert result.folds[1].scores == {"top1_acc": 0.5, "mAP": None}
    assert (result.scores["mAP_mean"], result.scores["mAP_std"]) == (None, None)
    assert result.score is not None
    assert result.validation_score is None
    assert {point.validation_score for point in result.grid} == {None}


def test_round_trip(found, tmp_path):
    _, _, result = found
    path = write_result(tmp_path, result)
    assert path == tmp_path / "result.json"
    assert read_result(path) == result
    assert read_result(tmp_path) == result
    content = json.loads(path.read_text())
    for name in ("model", "task", "protocol", "primary_metric", "score", "scores", "validation_score", "folds"):
        assert name in content
    for name in ("hyperparameters", "seconds", "versions", "embedding_key"):
        assert name in content


def test_written_whole_or_not_at_all(found, tmp_path, monkeypatch):
    _, _, result = found
    write_result(tmp_path, result)
    before = (tmp_path / "result.json").read_bytes()

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path, replace(result, model="another"))
    assert (tmp_path / "result.json").read_bytes() == before


def test_nan_never_gets_into_the_file(found, tmp_path):
    _, _, result = found
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(tmp_path, replace(result, score=math.nan))
    assert not (tmp_path / "result.json").exists()


def test_there_is_no_result(tmp_path):
    with pytest.raises(
        UserError, match=r"^file not found: .*result\.json \(a run without result\.json did not finish\)$"
    ):
        read_result(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"folds": [], "grid": [], "score": 1}', '{"folds": [{"a": 1}]}'])
def test_it_is_no_result(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=r"^.*result\.json: not a result of hear_exp: "):
        read_result(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(
    derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from([f.name for f in fields(Result)]), value=json_values)
@example(name="finished", value="")
@example(name="score", value="high")
@example(name="folds", value=[{"scores": 1}])
@example(name="grid", value=[[]])
@example(name="monitor", value="loss")
@example(name="hyperparameters", value=None)
@example(name="score", value="inf")
def test_any_json_is_a_result_or_a_sentence(found, tmp_path, name, value):
    write_result(tmp_path, found[2])
    path = tmp_path / "result.json"
    content = {**json.loads(path.read_text()), name: value}
    for broken in (content, value, {name: value}):
        path.write_text(json.dumps(broken))  # Infinity, too, which is not JSON
        try:
            assert isinstance(read_result(path), Result)
        except UserError as error:
            assert str(error).startswith(str(path))  # noqa: PT017


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40))
@example(b"")
@example(b"\xff")
@example(b"[" * 100000)
@example(b'{"score": NaN}')
def test_any_bytes_are_a_sentence(tmp_path, content):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(UserError, match=r"result\.json"):
        read_result(tmp_path)


def test_infinite_scores_are_kept(found, tmp_path):
    _, _, result = found
    folds = tuple(replace(fold, scores={**fold.scores, "d_prime": math.inf}) for fold in result.folds)
    path = write_result(tmp_path, replace(result, folds=folds, scores={**result.scores, "d_prime": -math.inf}))
    content = json.loads(path.read_text())
    assert (content["folds"][0]["scores"]["d_prime"], content["scores"]["d_prime"]) == ("inf", "-inf")
    assert read_result(path).scores["d_prime"] == -math.inf
    assert read_result(path).folds[0].scores["d_prime"] == math.inf


def test_results_of_earlier_versions_are_read(found, tmp_path):
    """They had none of the newer fields, and a loss that selected stood in validation_score."""
    path = write_result(tmp_path, found[2])
    new = ("task_mode", "task_digest", "identity", "undefined", "doubts", "validation_loss", "model_options")
    content = json.loads(path.read_text())
    old = {name: value for name, value in content.items() if name not in (*new, "differences")}
    for record in (*old["folds"], *old["grid"]):
        record.pop("validation_loss")
        record.pop("undefined", None)
    path.write_text(json.dumps(old))
    result = read_result(path)
    assert (result.task_mode, result.doubts, dict(result.undefined)) == ("", (), {})
    assert result.validation_score == found[2].validation_score
    path.write_text(json.dumps({**old, "monitor": "loss"}))
    result = read_result(path)
    assert (result.validation_score, result.validation_loss) == (None, found[2].validation_score)
    assert result.grid[0].validation_loss == found[2].grid[0].validation_score
    assert result.folds[0].validation_score is None
    path.write_text(json.dumps({**old, "monitor": "loss", "hyperparameters": {"k": 5}}))  # neighbours have no loss
    assert (read_result(path).monitor, read_result(path).validation_score) == ("score", found[2].validation_score)


def test_a_loss_is_not_a_score(tmp_path):
    problem = scene_problem(tmp_path / "loss", ["a", "b"], early_stop_on_score=False)
    outcome = scene_outcome(problem)
    result = result_of(problem, outcome)
    assert (result.monitor, result.validation_score) == ("loss", None)
    assert result.validation_loss == result.monitored == outcome.grid[outcome.winner].validation_loss
    assert {point.validation_score for point in result.grid} == {None}
    assert all(fold.validation_loss > 0 for fold in result.folds)


# Beside it --------------------------------------------------------------------------------------------------


def test_neighbours_of_a_scene_task(multiclass, tmp_path):
    outcome = search(multiclass, [mlp(), mlp(lr=1e-3)], workers=1)
    write_predictions(tmp_path, multiclass, outcome)
    write_curves(tmp_path, outcome)
    write_predictor(tmp_path, outcome)
    with np.load(tmp_path / "predictions" / "test.npz") as arrays:
        order = [clip.name for clip in multiclass.embeddings.splits["test"]]
        assert arrays["clips"].tolist() == order
        assert arrays["clip_rows"].tolist() == [1] * 13
        assert arrays["labels"].tolist() == ["low", "mid", "high"]
        clips = {clip.name: clip.labels for clip in multiclass.task.split("test").clips}
        for name, target in zip(order, arrays["targets"], strict=True):
            assert [multiclass.task.labels[i] for i in np.flatnonzero(target)] == list(clips[name])
        assert arrays["probabilities"] == pytest.approx(outcome.folds[0].tested.probabilities)
        accuracy = (arrays["probabilities"].argmax(1) == arrays["targets"].argmax(1)).mean()
        assert accuracy == pytest.approx(outcome.folds[0].tested.scores["top1_acc"])
    saved = torch.load(tmp_path / "predictor.pt")
    assert saved["hyperparameters"] == outcome.grid[outcome.winner].job.hyperparameters
    PredictorNetwork(16, 3, hidden_layers=1, hidden_dim=32).load_state_dict(saved["weights"]["test"])
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["grid_point"], row["epoch"]) for row in rows] == [(p, e) for p in "01" for e in ("2", "5", "8", "11")]
    assert float(rows[0]["validation_score"]) == outcome.grid[0].curve[0].score
    assert not list(tmp_path.rglob("*.events.json"))


def test_neighbours_of_an_event_task(events, tmp_path):
    outcome = search(events, [knn(batch_size=64)], workers=1)
    write_predictions(tmp_path, events, outcome)
    write_predictor(tmp_path, outcome)
    content = json.loads((tmp_path / "predictions" / "test.events.json").read_text())
    assert list(content) == [clip.name for clip in events.embeddings.splits["test"]]
    for clip in events.task.split("test").clips:
        expected = [{"label": e.label, "start_ms": e.start_ms, "end_ms": e.end_ms} for e in clip.events]
        assert content[clip.name]["reference"] == expected
        predicted = content[clip.name]["predicted"]
        assert [e["start_ms"] for e in predicted] == [e.start_ms for e in outcome.folds[0].tested.events[clip.name]]
    with np.load(tmp_path / "predictions" / "test.npz") as arrays:
        assert arrays["clip_rows"].tolist() == [80] * 6
        assert arrays["timestamps_ms"][:80].tolist() == [25.0 + 50 * i for i in range(80)]
    assert not (tmp_path / "predictor.pt").exists()  # neighbours have no weights
