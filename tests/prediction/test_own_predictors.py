"""Predictors from outside the package, those that docs/predictors.md shows: alone, in a search, and as a whole job."""

import importlib
import json
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from documented import blocks_of, write_heads
from tiny import knn, mlp, write_task
from torch.nn import functional as F

from hear_exp.errors import UserError
from hear_exp.prediction.batches import check_batches
from hear_exp.prediction.fit import run_fit
from hear_exp.prediction.fit_store import FitStore
from hear_exp.prediction.identity import differences, run_identity
from hear_exp.prediction.mlp import MLP
from hear_exp.prediction.outcome import FitJob
from hear_exp.prediction.own_code import check_unchanged, remember_code
from hear_exp.prediction.predictor import TrainedPredictor, find_predictor
from hear_exp.prediction.search import search
from hear_exp.tasks.folder import folds

pytestmark = pytest.mark.slow

TRAINING = {"lr": 3e-2, "batch_size": 8, "max_epochs": 30, "check_val_every_n_epoch": 3, "patience": 20}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """The module my_heads, importable as a reader's is."""
    folder = tmp_path_factory.mktemp("heads")
    write_heads(folder)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("my_heads")
    sys.path.remove(str(folder))
    sys.modules.pop("my_heads", None)


def rows_of(problem, split) -> tuple[torch.Tensor, np.ndarray]:
    rows = problem.embeddings.split_range(split)
    return torch.from_numpy(problem.embeddings.array()[rows.start : rows.stop].copy()), problem.targets()[
        rows.start : rows.stop
    ]


def test_a_cosine_classifier_of_ones_own(heads, multiclass):
    """Trained, kept at its best, and tested with what its own network computes."""
    point = heads.Cosine(scale=10.0, **TRAINING)
    outcome = run_fit(multiclass, FitJob(0, point, 0, folds(multiclass.task)[0], True))
    assert list(outcome.weights) == ["directions"]
    x, targets = rows_of(multiclass, "test")
    directions = torch.from_numpy(outcome.weights["directions"])
    expected = (10.0 * F.normalize(x, dim=1) @ F.normalize(directions, dim=1).T).double().softmax(dim=1).numpy()
    assert outcome.tested.probabilities == pytest.approx(expected, abs=1e-6)
    assert outcome.tested.scores["top1_acc"] == (expected.argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.5
    assert outcome.job.hyperparameters == {"scale": 10.0, **TRAINING}


@pytest.mark.parametrize("in_memory", [True, False])
def test_attention_over_the_frames_around_one(heads, events, in_memory):
    """Each frame with two on each side, a clip's end repeated: against a loop over clips and frames."""
    point = heads.AttentionPooling(**TRAINING)
    problem = replace(events, in_memory=in_memory)
    outcome = run_fit(problem, FitJob(0, point, 0, folds(events.task)[0], True))
    network = point.network(events.embeddings.dim, len(events.task.labels)).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in outcome.weights.items()})
    expected = []
    for clip in events.embeddings.splits["test"]:
        frames = torch.from_numpy(events.embeddings.array()[clip.start : clip.start + clip.count].copy())
        for i in range(clip.count):
            around = [frames[min(max(i + k, 0), clip.count - 1)] for k in range(-2, 3)]
            with torch.no_grad():
                expected.append(network(torch.stack(around)[None])[0].double().sigmoid().numpy())
    assert outcome.tested.probabilities == pytest.approx(np.array(expected), abs=1e-6)
    assert outcome.tested.scores["event_onset_200ms_fms"] > 0.5
    assert outcome.postprocessing is not None


def test_the_same_fit_from_memory_and_from_disk(heads, events):
    point = heads.AttentionPooling(**TRAINING)
    job = FitJob(0, point, 0, folds(events.task)[0], True)
    ours, theirs = (run_fit(replace(events, in_memory=value), job) for value in (True, False))
    assert ours.curve == theirs.curve
    assert np.array_equal(ours.tested.probabilities, theirs.tested.probabilities)


def test_a_search_of_ones_own_predictor_in_two_processes(heads, multiclass, tmp_path):
    """Workers import the class by its name; kept fits are read back as what they were."""
    points = [heads.Cosine(scale=scale, **TRAINING) for scale in (1.0, 10.0)]
    store = FitStore(tmp_path, run_identity(multiclass, points)).open()
    outcome = search(multiclass, points, workers=2, store=store)
    alone = search(multiclass, points, workers=1)
    assert outcome.winner == alone.winner
    assert outcome.folds[0].tested.scores == alone.folds[0].tested.scores
    kept = store.read(outcome.grid[1].job)
    assert kept.curve == outcome.grid[1].curve
    assert store.read(replace(outcome.grid[1].job, predictor=points[0])) is None


def test_frames_around_a_clip_that_has_none(heads, multiclass):
    with pytest.raises(UserError, match=r"^the predictor AttentionPooling sees 2 frames .* one embedding a clip: take"):
        check_batches(multiclass.task, multiclass.protocol, [heads.AttentionPooling(**TRAINING)])


def test_its_checks_speak_as_ours_do(heads):
    with pytest.raises(UserError, match=r"^predictor\.scale is -1, expected a number above 0$"):
        heads.Cosine(scale=-1, **TRAINING)
    with pytest.raises(UserError, match=r"^predictor\.lr is 'fast', expected a number above 0$"):
        heads.Cosine(**{**TRAINING, "lr": "fast"})


@dataclass(frozen=True, kw_only=True)
class Flipped(MLP):
    """Trains on the opposite."""

    def loss(self, logits, targets, multiclass):
        return -super().loss(logits, targets, multiclass)


@dataclass(frozen=True, kw_only=True)
class OneTooMany(MLP):
    def network(self, dim, labels):
        return super().network(dim, labels + 1)


def test_outputs_of_another_shape_are_a_sentence(multiclass):
    """Cross entropy would take them without a word."""
    job = FitJob(0, OneTooMany(**mlp().hyperparameters), 0, folds(multiclass.task)[0], False)
    sentence = r"OneTooMany gives outputs of shape \(8, 4\), expected \(rows, labels\) = \(8, 3\)$"
    with pytest.raises(UserError, match=sentence):
        run_fit(multiclass, job)


class Unfinished(TrainedPredictor):
    pass


def test_a_class_that_lacks_something_is_a_sentence():
    target = f"{Unfinished.__module__}.Unfinished"
    with pytest.raises(UserError, match=rf"^predictor\._target_ is '{target}', which lacks: network\(\)$"):
        find_predictor(target)


def test_a_loss_of_ones_own(multiclass):
    job = FitJob(0, mlp(max_epochs=6), 0, folds(multiclass.task)[0], False)
    plain = run_fit(multiclass, job)
    flipped = run_fit(multiclass, replace(job, predictor=Flipped(**job.hyperparameters)))
    assert plain.validation_loss > 0 > flipped.validation_loss


def test_the_code_of_a_predictor_is_part_of_the_identity(multiclass, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def identity(text: str):
        (tmp_path / "edited_head.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop("edited_head", None)
        kind = importlib.import_module("edited_head").Cosine
        remember_code(kind)
        return run_identity(multiclass, [kind(**TRAINING)]), kind

    (text,) = blocks_of("docs/predictors.md", "python")
    first, kind = identity(text)
    assert first.settings["predictor"] == "edited_head.Cosine"
    assert identity(text)[0].digest == first.digest
    check_unchanged(kind)
    other, kind = identity(text + "\n# another head\n")
    assert [line.split(":")[0] for line in differences(other.settings, first.settings)] == ["predictor_code"]
    (tmp_path / "edited_head.py").write_text(text)  # in the middle of a run
    with pytest.raises(UserError, match=r"edited_head\.py: edited since this run began, .* run the same command again"):
        search(multiclass, [kind(**TRAINING)], workers=1)
    sys.modules.pop("edited_head")


def test_a_predictor_of_the_package_is_known_by_the_package(multiclass):
    ours = run_identity(multiclass, [mlp()])
    assert ours.settings["predictor_code"] == ""
    assert ours.digest != run_identity(multiclass, [Flipped(**mlp().hyperparameters)]).digest


def test_hyperparameters_are_the_constructors_arguments():
    """Defaults too: they decide a score."""
    assert mlp(lr=0.5).hyperparameters["lr"] == 0.5
    assert list(mlp().hyperparameters) == sorted(mlp().hyperparameters)
    assert knn().hyperparameters == {"batch_size": 8, "k": 3, "metric": "cosine", "temperature": 0.07}
    settings: dict[str, Any] = {**TRAINING, "hidden_layers": 1}
    assert MLP(**settings).hyperparameters == {
        **settings,
        "hidden_dim": 1024,
        "dropout": 0.1,
        "initialization": "xavier_uniform",
    }


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_task(folder / "scene")
    write_task(folder / "events", "events", seconds=2.0)
    return folder


@pytest.mark.parametrize(("name", "task"), [("cosine", "scene"), ("attention", "events")])
def test_a_whole_job_with_a_predictor_of_ones_own(heads, tasks, name, task, start, tmp_path):
    from hear_exp.__main__ import run

    write_heads(tmp_path)
    arguments = ["--config-dir", str(tmp_path / "my_configs"), f"predictor={name}", "task=custom", "logger=none"]
    arguments += [f"task.path={tasks / task}", "model=hear", "model.module=tiny_model", "search.workers=1"]
    start(run, *arguments, "predictor.max_epochs=3", "predictor.batch_size=8", f"paths.root={tmp_path}")
    (path,) = tmp_path.glob("runs/**/result.json")
    result = json.loads(path.read_text())
    assert result["predictor"] == name
    assert ("scale" in result["hyperparameters"]) == (name == "cosine")
    assert (path.parent / "predictor.pt").exists()
