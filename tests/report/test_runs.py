"""Runs gathered into rows: what is averaged, what counts, and what a row is called."""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hear_exp.report.row_labels import model_labels, note, protocol_labels
from hear_exp.report.runs import OTHER_SETTINGS, REPEATED, Run, compare
from hear_exp.results.result import GridResult, Result
from hear_exp.results.task_id import TaskId, task_labels

RESULT = Result(
    model="crepe",
    task="esc50",
    task_version="v2",
    protocol="hear2021",
    protocol_changes={},
    primary_metric="top1_acc",
    higher_is_better=True,
    score=0.5,
    scores={"top1_acc": 0.5},
    validation_score=0.6,
    folds=(),
    predictor="mlp",
    hyperparameters={"lr": 1e-3},
    grid=(),
    seed=0,
    seconds={},
    clips=10,
    embedding_key="k1",
    embedding_dim=8,
    task_mode="full",
    task_digest="d1",
)


def run(day: int, score: float | None = 0.5, valid: float | None = 0.6, lr: float = 1e-3, **changes: Any) -> Run:
    grid = (GridResult({"lr": lr}, valid, 0, 1, "patience", 1.0),)
    found = replace(RESULT, score=score, validation_score=valid, hyperparameters={"lr": lr}, grid=grid)
    date = datetime.datetime(2026, 1, day)
    return Run(replace(found, **changes), Path(f"runs/{day}"), date)


def rows(*runs: Run):
    (comparison,) = compare(runs)
    return comparison.rows


def test_runs_that_differ_in_seed_are_averaged():
    """Of 0.5 and 0.7: mean 0.6, deviation 0.1414 with ddof 1; over folds the deviations are averaged."""
    folds: list[Mapping[str, float]] = [{"top1_acc_std": 0.1}, {"top1_acc_std": 0.3}]
    (row,) = rows(run(1, 0.5, seed=0, scores=folds[0]), run(2, 0.7, seed=1, scores=folds[1]))
    assert (row.score, len(row.runs), row.settings) == (pytest.approx(0.6), 2, 1)
    assert row.seed_spread == pytest.approx(0.1 * 2**0.5)
    assert row.fold_spread == pytest.approx(0.2)
    assert note(row) == "2 seeds"


def test_the_best_validation_chooses_among_settings_not_the_best_test():
    """0.9 on test belongs to the settings with the worse validation; their seeds are averaged before."""
    worse = [run(1, 0.9, 0.9, lr=1e-1, seed=0), run(2, 0.9, 0.1, lr=1e-1, seed=1)]
    better = [run(3, 0.4, 0.7, lr=1e-3, seed=0), run(4, 0.6, 0.7, lr=1e-3, seed=1)]
    (row,) = rows(*worse, *better)
    assert [r.folder.name for r in row.runs] == ["3", "4"]
    assert row.score == 0.5
    assert [(r.folder.name, why) for r, why in row.not_counted] == [("1", OTHER_SETTINGS), ("2", OTHER_SETTINGS)]
    assert note(row) == "2 seeds, best of 2 settings by validation"


def test_the_lowest_loss_chooses_where_the_loss_selects():
    loss = {"monitor": "loss", "valid": None}
    (row,) = rows(
        run(1, 0.9, lr=1e-1, validation_loss=0.8, **loss),
        run(2, 0.1, lr=1e-2, validation_loss=0.2, **loss),
        run(3, 0.9, lr=1e-3, validation_loss=None, **loss),
    )
    assert row.score == 0.1


def test_a_repeated_run_counts_once_and_the_newest_does():
    (row,) = rows(run(2, 0.7, identity="same"), run(1, 0.5, identity="same"))
    assert (row.score, row.seed_spread, note(row)) == (0.7, None, "")
    assert [(r.folder.name, why) for r, why in row.not_counted] == [("1", REPEATED)]


def test_an_undefined_seed_makes_the_row_undefined():
    (row,) = rows(run(1, None, seed=0), run(2, 0.5, seed=1))
    assert (row.score, row.seed_spread) == (None, None)


@pytest.mark.parametrize("field", ["task_version", "task_mode", "task_digest"])
def test_two_tasks_of_one_name_are_compared_apart(field):
    comparisons = compare([run(1, 0.9), run(2, 0.1, **{field: "other"})])
    assert [len(c.rows) for c in comparisons] == [1, 1]
    assert all(c.is_best(c.rows[0]) for c in comparisons)
    assert len(set(task_labels([c.task for c in comparisons]).values())) == 2


def test_tasks_are_named_by_what_tells_them_apart():
    ids = [TaskId("sc", "v1", "5h", "a"), TaskId("sc", "v1", "full", "b"), TaskId("demo", "v1", "", "c")]
    assert list(map(task_labels(ids).get, ids)) == ["sc (5h)", "sc (full)", "demo"]
    ids = [TaskId("sc", "v1", "5h", "a"), TaskId("sc", "v2", "5h", "b"), TaskId("sc", "v2", "5h", "")]
    names = ["sc (5h, v1)", "sc (5h, v2, b)", "sc (5h, v2, content unknown)"]
    assert list(map(task_labels(ids).get, ids)) == names


def test_models_of_one_name_are_rows_of_their_own_named_by_what_differs():
    options = {"module": "m", "weights": "", "layer": 3}
    found = rows(
        run(1, 0.9, model_options=options),
        run(2, 0.8, embedding_key="k2", model_options={**options, "layer": 6}),
        run(3, 0.7, embedding_key="k3", model_options={**options, "weights": "w.pt"}),
        run(4, 0.6, embedding_key="k4", model_options=options),
        run(5, 0.5, model="other"),
    )
    assert model_labels(found) == [
        "crepe (weights default, layer 3) [k1]",
        "crepe (weights default, layer 6)",
        "crepe (weights w.pt, layer 3)",
        "crepe (weights default, layer 3) [k4]",
        "other",
    ]


def test_changed_protocols_have_a_star_and_are_told_apart():
    changes = [{}, {"shuffle": True}, {"event_end": "next_frame"}]
    found = rows(*(run(day, 1 - day / 10, protocol_changes=c) for day, c in enumerate(changes, 1)))
    assert protocol_labels(found) == ["hear2021", "hear2021* (shuffle=True)", "hear2021* (event_end=next_frame)"]
    assert protocol_labels(found[:2]) == ["hear2021", "hear2021*"]


def test_equal_rows_share_the_star():
    (comparison,) = compare([run(1, 0.9), run(2, 0.9, model="a"), run(3, 0.8, model="b")])
    assert [comparison.is_best(row) for row in comparison.rows] == [True, True, False]


def test_doubts_of_the_runs_that_count():
    (row,) = rows(
        run(1, doubts=("x",), seed=0), run(2, doubts=("x", "y"), seed=1), run(3, 0.1, 0.1, 1.0, doubts=("z",))
    )
    assert row.doubts == ("x", "y")


def test_runs_that_were_computed_otherwise_are_other_settings():
    """Precision and threads change scores in the last digits: neither run repeats the other."""
    both = [run(day, computation={"precision": precision}) for day, precision in ((1, "32-true"), (2, "64-true"))]
    (row,) = rows(*both)
    assert row.settings == 2
    assert [why for _, why in row.not_counted] == [OTHER_SETTINGS]
