"""benchmarks/parity.py, on made-up records; against heareval itself where HEAR_EXP_PEER_PYTHON names its Python."""

import importlib.util
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import embed, write_task

from hear_exp.export_heareval import write_heareval

PARITY = Path(__file__).parents[1] / "benchmarks" / "parity.py"
PEER_PYTHON = os.environ.get("HEAR_EXP_PEER_PYTHON")
GRID = {"max_epochs": [6], "hidden_dim": [16], "lr": [1e-2], "check_val_every_n_epoch": [3]}


@pytest.fixture(scope="module")
def parity():
    spec = importlib.util.spec_from_file_location("parity", PARITY)
    sys.modules["parity"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def export(folder, kind, **options):
    settings = {"evaluation_params": {"task_specific_param_grid": GRID}}
    task, embedded = embed(write_task(folder / "task", kind, **settings, **options), folder / "cache")
    write_heareval(task, embedded.embeddings, folder / "tiny" / kind)
    return folder / "tiny" / kind


def test_means_and_standard_errors_by_hand(parity):
    row = parity.row("x", [1.0, 2.0, 3.0], [3.0, 3.0, 3.0])
    assert (row.ours, row.theirs, row.theirs_se) == (2.0, 3.0, 0.0)
    assert row.ours_se == pytest.approx(1 / math.sqrt(3))
    assert row.errors == pytest.approx(math.sqrt(3))
    assert parity.row("x", [1.0, 1.0], [1.0, 1.0]).errors == 0
    assert parity.row("x", [1.0, 1.0], [2.0, 2.0]).errors == math.inf


def test_f_measures_are_found_by_their_parts(parity):
    scores = {"f": [["f_measure", 0.5], ["precision", 0.4], ["recall", 0.6]], "acc": 0.9}
    assert [parity._peer_score(scores, name) for name in ("f", "f_precision", "f_recall", "acc")] == [
        0.5,
        0.4,
        0.6,
        0.9,
    ]


def test_stages_show_what_differs(parity, tmp_path):
    folder = export(tmp_path, "multiclass", clips=6)
    targets = np.eye(3, dtype=np.uint8)
    task = parity.read_embedded_task(folder)
    rows = {split.name: targets[[task.labels.index(clip.labels[0]) for clip in split.clips]] for split in task.splits}
    arrays = {f"{name}.targets": value for name, value in rows.items()}
    np.savez(tmp_path / "peer.npz", **arrays, **{"test.probabilities": rows["test"] * 0.5 + 0.1})
    peer = {
        "labels": {"low": 0, "mid": 1, "high": 2},
        "folds": [{"train": ["train"], "valid": ["valid"], "test": ["test"]}],
        "fits": [
            {"conf": {**point, "initialization": point["initialization"] + "_"}} for point in parity._grid(task, 2)
        ],
        "scores": {"test": {"top1_acc": 1.0, "mAP": 0.75}},
        "arrays": tmp_path / "peer.npz",
    }
    found = {stage.name: stage.difference for stage in parity.stages(folder, peer, 2, tmp_path / "import")}
    assert found.pop("mAP") == 0.25
    assert set(found) == {"label order", "folds", "grid points, in order", "targets", "top1_acc"}
    assert set(found.values()) == {0.0}
    peer["labels"] = {"mid": 0, "low": 1, "high": 2}
    assert next(parity.stages(folder, peer, 2, tmp_path / "import")).difference == math.inf


@pytest.mark.skipif(not PEER_PYTHON, reason="HEAR_EXP_PEER_PYTHON is not set")
@pytest.mark.parametrize(
    ("kind", "options"), [("multiclass", {"folds": 3}), ("multilabel", {}), ("events", {"seconds": 4.0})]
)
def test_heareval_runs_on_what_we_export_and_agrees(parity, tmp_path, kind, options):
    folder = export(tmp_path, kind, **options)
    peer = parity.run_peer(PEER_PYTHON, folder, tmp_path / "work", 2, 0)
    stages = list(parity.stages(folder, peer, 2, tmp_path / "import"))
    stages += parity.training(PEER_PYTHON, folder, tmp_path / "work", epochs=6)
    print(json.dumps([[stage.name, stage.compared, stage.difference] for stage in stages]))
    assert {stage.name: stage.difference for stage in stages if stage.difference > 1e-6} == {}
