"""A run's identity: what decides scores changes it, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import make_problem, mlp, problem_of, tiny_encoder, write_task

from hear_exp.embeddings.embed import embed_task
from hear_exp.prediction import identity
from hear_exp.prediction.identity import differences, run_identity
from hear_exp.tasks.folder import read_task

POINTS = [mlp(), mlp(lr=1e-3)]


def test_the_same_run_elsewhere(multiclass, tmp_path):
    """Another folder, other workers, from disk: the same scores, and the same name."""
    again = make_problem(tmp_path, "multiclass", clips=13)
    moved = replace(again, in_memory=False, targets_path=Path("/elsewhere"))
    assert run_identity(moved, POINTS) == run_identity(multiclass, POINTS)
    assert len(run_identity(multiclass, POINTS).digest) == 16


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("seed", {"seed": 43}),
        ("threads", {"threads": 2}),
        ("precision", {"precision": "64-true"}),
        ("accelerator", {"accelerator": "cuda"}),
    ],
)
def test_what_decides_scores_counts(multiclass, name, change):
    ours, theirs = run_identity(multiclass, POINTS), run_identity(replace(multiclass, **change), POINTS)
    assert ours.digest != theirs.digest
    (line,) = differences(theirs.settings, ours.settings)
    assert line == f"{name}: {theirs.settings[name]!r}, was {ours.settings[name]!r}"


def test_task_protocol_embeddings_and_grid_count(multiclass, monkeypatch):
    first = run_identity(multiclass, POINTS)
    task, split = multiclass.task, multiclass.task.splits[0]
    relabelled = replace(split, clips=(replace(split.clips[0], labels=("high",)), *split.clips[1:]))
    others = [
        replace(multiclass, task=replace(task, version="2")),
        replace(multiclass, task=replace(task, mode="5h")),
        replace(multiclass, task=replace(task, metrics=("mAP",))),
        replace(multiclass, task=replace(task, early_stop_on_score=False)),
        replace(multiclass, task=replace(task, splits=(relabelled, *task.splits[1:]))),
        replace(multiclass, protocol=replace(multiclass.protocol, shuffle=False)),
        replace(multiclass, embeddings=replace(multiclass.embeddings, key="another")),
    ]
    digests = {first.digest, *(run_identity(other, POINTS).digest for other in others)}
    digests |= {run_identity(multiclass, points).digest for points in (POINTS[:1], POINTS[::-1])}
    monkeypatch.setattr(identity, "_code", lambda: "edited")
    digests.add(run_identity(multiclass, POINTS).digest)
    assert len(digests) == 1 + len(others) + 2 + 1


def test_other_bytes_under_one_key_are_another_run(tmp_path):
    """A model that depends on the batch, or on chance, gives other embeddings under the same key."""
    folder = write_task(tmp_path / "task")
    found = []
    for root in ("one", "two"):
        encoder = tiny_encoder()
        if root == "two":
            scene = encoder.scene
            encoder.scene = lambda audio, scene=scene: scene(audio) + 1
        task = read_task(folder)
        embedded = embed_task(task, encoder, tmp_path / root)
        (tmp_path / root).mkdir(exist_ok=True)
        found.append(problem_of(task, embedded.embeddings, tmp_path / root))
    assert found[0].embeddings.key == found[1].embeddings.key
    assert run_identity(found[0], POINTS).digest != run_identity(found[1], POINTS).digest
