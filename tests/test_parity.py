"""benchmarks/parity.py, on made-up records; against heareval itself where HEAR_EXP_PEER_PYTHON names its Python."""

import json
import math
import os

import numpy as np
import parity
import parity_runs
import parity_stages
import pytest
from tiny import embed, write_task

from hear_exp.embeddings.heareval import read_embedded_task
from hear_exp.export_heareval import write_heareval

PEER_PYTHON = os.environ.get("HEAR_EXP_PEER_PYTHON")
GRID = {"max_epochs": [6], "hidden_dim": [16], "lr": [1e-2], "check_val_every_n_epoch": [3]}


def export(folder, kind, **options):
    settings = {"evaluation_params": {"task_specific_param_grid": GRID}}
    task, embedded = embed(write_task(folder / "task", kind, **settings, **options), folder / "cache")
    write_heareval(task, embedded.embeddings, folder / "tiny" / kind)
    return folder / "tiny" / kind


def test_means_and_standard_errors_by_hand():
    row = parity.row("x", [1.0, 2.0, 3.0], [3.0, 3.0, 3.0])
    assert (row.ours, row.theirs, row.theirs_se) == (2.0, 3.0, 0.0)
    assert row.ours_se == pytest.approx(1 / math.sqrt(3))
    assert row.errors == pytest.approx(math.sqrt(3))
    assert parity.row("x", [1.0, 1.0], [1.0, 1.0]).errors == 0
    assert parity.row("x", [1.0, 1.0], [2.0, 2.0]).errors == math.inf


def test_f_measures_are_found_by_their_parts():
    scores = {"f": [["f_measure", 0.5], ["precision", 0.4], ["recall", 0.6]], "acc": 0.9}
    assert [parity_runs.peer_score(scores, name) for name in ("f", "f_precision", "f_recall", "acc")] == [
        0.5,
        0.4,
        0.6,
        0.9,
    ]


def records(scores, seconds, version):
    """What run_ours or run_peer returns of a run, as far as a comparison reads it."""
    return {"scores": scores, "seconds": seconds, "stage_seconds": seconds / 2, "versions": {"torch": version}}


def test_the_tables_of_a_comparison():
    """Two seeds; heareval's scores are a mean over folds, its F-measures lists of parts."""
    ours = [
        {
            **records({"f": score, "f_mean": score, "f_std": 0.1, "acc": 0.5, "acc_finite": 0.5}, seconds, "2"),
            "primary_metric": "f",
        }
        for score, seconds in ((0.5, 10.0), (0.7, 20.0))
    ]
    theirs = [
        records({name: {"f": [["f_measure", f]], "acc": 0.9} for name, f in folds.items()}, 30.0, "1")
        for folds in ({"fold00": 0.4, "fold01": 0.6}, {"fold00": 0.5, "fold01": 0.7})
    ]
    found = (parity_stages.Stage("folds", "2 triples", 0.0), parity_stages.Stage("acc", "2 test splits", 2.2204e-16))
    comparison = parity.compare(ours, theirs, found)
    assert parity.tables(comparison).splitlines() == [
        "Primary score `f`, 2 seeds.",
        "",
        "| stage, on heareval's own input | compared | largest difference |",
        "|---|---|---|",
        "| folds | 2 triples | 0 |",
        "| acc | 2 test splits | 2.2e-16 |",
        "",
        "| test score | ours (mean ± se) | heareval | difference | in standard errors | within two |",
        "|---|---|---|---|---|---|",
        "| f | 0.6000 ± 0.1000 | 0.5500 ± 0.0500 | +0.0500 | 0.45 | yes |",
        "| acc | 0.5000 ± 0.0000 | 0.9000 ± 0.0000 | -0.4000 | inf | NO |",
        "| seconds, search and test | 7.5 | 15.0 | 2.0 times as fast | | |",
        "| seconds, whole command | 15.0 | 30.0 | 2.0 times as fast | | |",
    ]
    assert parity.versions_text(comparison) == "Versions, ours: torch 2\n\nVersions, heareval: torch 1"


def test_one_seed_says_nothing_about_chance():
    ours = [{**records({"f": 0.5}, 1.0, "2"), "primary_metric": "f"}]
    lines = parity.tables(parity.compare(ours, [records({"test": {"f": 0.6}}, 1.0, "1")], ())).splitlines()
    assert lines[0] == "Primary score `f`, 1 seed."
    assert "| f | 0.5000 ± nan | 0.6000 ± nan | -0.1000 | nan | one seed |" in lines


def test_stages_show_what_differs(tmp_path):
    folder = export(tmp_path, "multiclass", clips=6)
    targets = np.eye(3, dtype=np.uint8)
    task = read_embedded_task(folder)
    rows = {split.name: targets[[task.labels.index(clip.labels[0]) for clip in split.clips]] for split in task.splits}
    arrays = {f"{name}.targets": value for name, value in rows.items()}
    np.savez(tmp_path / "peer.npz", **arrays, **{"test.probabilities": rows["test"] * 0.5 + 0.1})
    peer = {
        "labels": {"low": 0, "mid": 1, "high": 2},
        "folds": [{"train": ["train"], "valid": ["valid"], "test": ["test"]}],
        "fits": [
            {"conf": {**point, "initialization": point["initialization"] + "_"}}
            for point in parity_stages._grid(task, 2)
        ],
        "scores": {"test": {"top1_acc": 1.0, "mAP": 0.75}},
        "arrays": tmp_path / "peer.npz",
    }
    found = {stage.name: stage.difference for stage in parity_stages.stages(folder, peer, 2, tmp_path / "import")}
    assert found.pop("mAP") == 0.25
    assert set(found) == {"label order", "folds", "grid points, in order", "targets", "top1_acc"}
    assert set(found.values()) == {0.0}
    peer["labels"] = {"mid": 0, "low": 1, "high": 2}
    assert next(parity_stages.stages(folder, peer, 2, tmp_path / "import")).difference == math.inf


@pytest.mark.skipif(not PEER_PYTHON, reason="HEAR_EXP_PEER_PYTHON is not set")
@pytest.mark.parametrize(
    ("kind", "options"), [("multiclass", {"folds": 3}), ("multilabel", {}), ("events", {"seconds": 4.0})]
)
def test_heareval_runs_on_what_we_export_and_agrees(tmp_path, kind, options):
    folder = export(tmp_path, kind, **options)
    peer = parity_runs.run_peer(PEER_PYTHON, folder, tmp_path / "work", 2, 0)
    stages = list(parity_stages.stages(folder, peer, 2, tmp_path / "import"))
    stages += parity_stages.training(PEER_PYTHON, folder, tmp_path / "work", epochs=6)
    print(json.dumps([[stage.name, stage.compared, stage.difference] for stage in stages]))
    assert {stage.name: stage.difference for stage in stages if stage.difference > 1e-6} == {}
