"""From a config to the objects that are made with torch: the encoder, and the problem that fits share."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import embed, write_task

from hear_exp.errors import UserError
from hear_exp.settings import objects, plans

# Models -----------------------------------------------------------------------------------------------------


def test_any_hear_module(settings_of, tmp_path):
    weights = tmp_path / "w.txt"
    weights.write_text("2.0")
    settings, _ = settings_of(
        "model=hear", "model.module=tiny_model", f"model.weights={weights}", "model.options={dim: 8}", "trainer=cpu"
    )
    encoder = objects.load_encoder(settings)
    assert (encoder.name, encoder.device, encoder.dim("scene")) == ("tiny_model", torch.device("cpu"), 8)
    assert encoder.identity["options"] == {"dim": 8}
    assert len(encoder.identity["weights"]) == 1


def test_no_module(settings_of):
    with pytest.raises(UserError, match=r"^model hear: no module given \(model\.module=PACKAGE"):
        objects.load_encoder(settings_of("model=hear")[0])


# Targets and the problem ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_scene_targets_belong_to_their_rows(tmp_path, kind):
    task, embedded = embed(write_task(tmp_path / "task", kind), tmp_path / "cache")
    targets = objects.task_targets(task, embedded.embeddings)
    assert (targets.shape, targets.dtype) == ((36, 3), np.uint8)
    seen = set()
    for split in task.splits:
        labels = {clip.name: clip.labels for clip in split.clips}
        for clip in embedded.embeddings.splits[split.name]:
            found = tuple(task.labels[i] for i in np.flatnonzero(targets[clip.start]))
            assert found == labels[clip.name]
            seen.add(found)
    assert (() in seen) == (kind == "multilabel")


def test_event_targets_belong_to_their_frames(tmp_path):
    """Frames of 50 ms, centred 25 ms in: an event from 200 to 600 ms is in frames 4 to 11 of its clip."""
    task, embedded = embed(write_task(tmp_path / "task", "events", clips=3, seconds=1.0), tmp_path / "cache")
    targets = objects.task_targets(task, embedded.embeddings)
    assert targets.shape == (9 * 20, 3)
    for split in task.splits:
        events = {clip.name: clip.events for clip in split.clips}
        for clip in embedded.embeddings.splits[split.name]:
            expected = np.zeros((20, 3))
            (event,) = events[clip.name]
            expected[4:12, task.labels.index(event.label)] = 1
            assert np.array_equal(targets[clip.start : clip.start + clip.count], expected)


def test_problem(settings_of, tmp_path):
    task, embedded = embed(write_task(tmp_path / "task"), tmp_path / "cache")
    settings, choices = settings_of("seed=7", "search.threads=2", "data.in_memory=false", "trainer=cpu")
    protocol, _ = plans.protocol_and_grid(settings, task, choices)
    folder = tmp_path / "run"
    folder.mkdir()
    device = torch.device("cpu")
    with objects.make_problem(settings, task, embedded.embeddings, protocol, device, folder) as problem:
        assert (problem.seed, problem.threads, problem.in_memory) == (7, 2, False)
        assert (problem.accelerator, problem.precision) == ("cpu", "32-true")
        assert np.array_equal(problem.targets(), objects.task_targets(task, embedded.embeddings))
        assert replace(problem, task=task) == problem
    assert list(folder.iterdir()) == []
