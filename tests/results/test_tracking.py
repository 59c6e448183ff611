from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fabricated import GRID, result_of, scene_outcome, scene_problem
from wandb_records import offline_runs, summaries, values

from hear_exp.errors import UserError
from hear_exp.report.pictures import draw_pictures
from hear_exp.results.leaderboard import Rank
from hear_exp.results.task_id import TaskId
from hear_exp.results.tracker import Tracker
from hear_exp.results.tracking import CsvLogger, NoLogger, make_tracker
from hear_exp.results.wandb_config import flat
from hear_exp.results.wandb_logger import WandbLogger
from hear_exp.results.wandb_tracker import WandbTracker

pytestmark = pytest.mark.slow

CONFIG = {
    "predictor": {"name": "mlp", "lr": [1e-3, 1e-4]},
    "seed": 42,
    "paths": {"root": Path("r")},
    "empty": {},
}


@pytest.fixture(autouse=True)
def _no_wandb_settings(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_RUN_ID", "WANDB_RESUME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", "/nonexistent")


def tracker(folder: Path, name: str = "wandb", **changes: Any) -> Tracker:
    loggers = {"csv": CsvLogger(), "none": NoLogger()}
    logger = loggers.get(name) or WandbLogger(**{"project": "hear_exp", "tags": ("a",), "dir": folder, **changes})
    return make_tracker(logger, run_folder=folder, config=CONFIG, name="run", model="logmel", task=TaskId("demo_scene"))


def record(folder: Path, name: str, kfold: bool = False, **changes: Any) -> None:
    """A whole run through a tracker."""
    problem = scene_problem(folder / "task", ["a", "b", "c"], clips=30, kfold=kfold)
    outcome = scene_outcome(problem)
    result = result_of(problem, outcome, doubts=["too few clips"])
    with tracker(folder, name, **changes) as tracking:
        for fit in (*outcome.grid, *outcome.folds[1:]):
            tracking.fit_done(fit)
        tracking.finish(result, draw_pictures(folder, problem, outcome, result), folder)


def test_flat():
    assert flat({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None, "f": {}}) == {
        "a.b": 1,
        "a.c.d": [1, 2],
        "e": None,
    }


def test_wandb_keeps_a_run(tmp_path, caplog):
    with caplog.at_level("INFO"):
        record(tmp_path, "wandb", kfold=True)
    (records,) = offline_runs(tmp_path)
    run = next(r.run for r in records if r.HasField("run"))
    assert (run.project, run.run_group, run.job_type) == ("hear_exp", "logmel/demo_scene", "mlp")
    assert (run.display_name, list(run.tags)) == ("run", ["a", "current", "demo_scene", "mlp"])
    config = values(run.config.update)
    assert config["predictor.lr"] == [1e-3, 1e-4]
    assert config["paths.root"] == "r"
    summary = summaries(records)
    assert summary["score"] == summary["test/top1_acc"] == summary["test/top1_acc_mean"]
    assert summary["score_std"] == summary["test/top1_acc_std"] > 0
    assert summary["winner/lr"] in (1e-3, 3.2e-3)
    assert (summary["monitor"], summary["doubts"]) == ("score", 1)
    updates = [item for r in records for item in r.config.update]
    assert values(updates)["doubts"] == ["too few clips"]
    assert values(updates)["evaluation"].startswith("logmel, demo_scene, mlp, hear2021 [")
    assert summary["seconds/search"] == 12.3
    history = [values(r.history.item) for r in records if r.HasField("history")]
    curve = [row for row in history if "curve/epoch" in row]
    assert [row["curve/epoch"] for row in curve] == list(range(2, 120, 3))
    assert curve[0].keys() >= {"curve/train_loss", "curve/validation_loss", "curve/validation_score"}
    assert [row["search/fit"] for row in history if "search/fit" in row] == list(range(1, 11))
    assert next(r.exit.exit_code for r in records if r.HasField("exit")) == 0
    media = {path.name.split("_")[0] for path in (tmp_path / "wandb").rglob("media/**/*.*")}
    assert media == {"grid", "folds", "curves", "confusion", "learning"}
    grid = json.loads(next((tmp_path / "wandb").rglob("media/table/grid*")).read_text())
    assert grid["columns"][: len(GRID[0].hyperparameters)] == sorted(GRID[0].hyperparameters)
    assert [row[-1] for row in grid["data"]].count(True) == 1
    folds = json.loads(next((tmp_path / "wandb").rglob("media/table/folds*")).read_text())
    assert [row[0] for row in folds["data"]] == ["fold00", "fold01", "fold02"]
    hint = next(message for message in caplog.messages if "upload with: wandb sync" in message)
    assert Path(hint.rsplit(" ", 1)[1]).is_dir()


def test_wandb_has_a_rank_only_where_it_is_comparable(tmp_path):
    problem = scene_problem(tmp_path / "task", ["a", "b", "c"], clips=30)
    result = result_of(problem, scene_outcome(problem))
    for place in (Rank("esc50", 2, 30), Rank("esc50", 2, 30, comparable=False, why_not="predictor knn")):
        (tmp_path / str(place.comparable)).mkdir()
        with tracker(tmp_path / str(place.comparable)) as tracking:
            tracking.finish(replace(result, leaderboard=asdict(place)), [], tmp_path)
    (yes,), (no,) = offline_runs(tmp_path / "True"), offline_runs(tmp_path / "False")
    found = [{k: v for k, v in summaries(run).items() if k.startswith("leaderboard/")} for run in (yes, no)]
    assert found[0] == {"leaderboard/task": "esc50", "leaderboard/rank": 2, "leaderboard/of": 30}
    assert found[1] == {"leaderboard/why_not": "predictor knn"}


def test_wandb_runs_of_a_process_are_their_own(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_RUN_ID", "leaked")
    monkeypatch.setenv("WANDB_RESUME", "must")
    settings = wandb.Settings(silent=True, console="off")
    other = wandb.init(project="other", id="other", mode="offline", dir=str(tmp_path / "o"), settings=settings)
    try:
        record(tmp_path, "wandb")
        record(tmp_path, "wandb")
    finally:
        other.finish()
    ids = [next(r.run.run_id for r in records if r.HasField("run")) for records in offline_runs(tmp_path)]
    assert len(set(ids)) == 2
    assert not {"leaked", "other"} & set(ids)


def test_wandb_closes_a_failed_run(tmp_path):
    with pytest.raises(KeyboardInterrupt), tracker(tmp_path):
        raise KeyboardInterrupt
    (records,) = offline_runs(tmp_path)
    assert next(r.exit.exit_code for r in records if r.HasField("exit")) == 1


def test_wandb_disabled(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    record(tmp_path, "wandb")
    assert not (tmp_path / "wandb").exists()


def test_wandb_that_does_not_start_is_one_sentence(tmp_path, monkeypatch):
    import wandb

    def no_network(**options: Any) -> None:
        raise wandb.errors.CommError("Run initialization has timed out\nafter 90.0 sec.")

    monkeypatch.setattr(wandb, "init", no_network)
    expected = r"\(mode online\): Run initialization has timed out after 90.0 sec. .*WANDB_MODE=offline.*logger=none"
    with pytest.raises(UserError, match=expected), tracker(tmp_path, mode="online"):
        pass


def test_wandb_unknown_mode(tmp_path):
    with pytest.raises(UserError, match=r"mode elsewhere.*logger=none"), tracker(tmp_path, mode="elsewhere"):
        pass


def test_csv(tmp_path):
    record(tmp_path, "csv", kfold=True)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["stage", "fold", "grid_point", "epoch", "name", "value"]
    assert [r["name"] for r in rows[:4]] == ["validation_score", "validation_loss", "epochs_run", "seconds"]
    assert len([r for r in rows if r["stage"] == "fit" and r["name"] == "seconds"]) == 10
    assert [r["fold"] for r in rows if r["stage"] == "test"] == ["fold00", "fold01", "fold02"]
    final = {r["name"]: float(r["value"]) for r in rows if r["stage"] == "result"}
    tests = [float(r["value"]) for r in rows if r["stage"] == "test"]
    assert final["top1_acc"] == pytest.approx(sum(tests) / 3)
    assert final["seconds_embed"] == 1.235


def test_csv_of_a_failed_run_holds_what_was_done(tmp_path):
    outcome = scene_outcome(scene_problem(tmp_path / "task", ["a", "b"], clips=30))
    tracking = tracker(tmp_path, "csv").__enter__()
    tracking.fit_done(outcome.grid[0])
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5  # at once
    tracking.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def test_csv_of_a_task_that_selects_by_loss(tmp_path):
    problem = scene_problem(tmp_path / "task", ["a", "b"], clips=30, early_stop_on_score=False)
    outcome = scene_outcome(problem)
    with tracker(tmp_path, "csv") as tracking:
        tracking.fit_done(outcome.grid[0])
        tracking.finish(result_of(problem, outcome), [], tmp_path)
    text = (tmp_path / "metrics.csv").read_text()
    assert text.count(",validation_loss,") == 2
    assert "validation_score" not in text


def test_names_in_csv_are_no_formulas(tmp_path):
    problem = scene_problem(tmp_path / "task", ["a", "b"], clips=30, kfold=True)
    result = result_of(problem, scene_outcome(problem))
    folds = tuple(replace(fold, test_split="=1+1") for fold in result.folds)
    with tracker(tmp_path, "csv") as tracking:
        tracking.finish(replace(result, folds=folds), [], tmp_path)
    text = (tmp_path / "metrics.csv").read_text()
    assert "test,'=1+1," in text
    assert ",=1+1" not in text


def test_the_wandb_group_tells_tasks_apart(tmp_path):
    """By name, version, mode and content; also where a long name is cut."""
    ids = [TaskId("speech", "v1", mode, digest) for mode, digest in (("5h", "a"), ("full", "a"), ("full", "b"))]
    ids += [TaskId("n" * 200, "v1", "5h", "a"), TaskId("n" * 200, "v1", "50h", "a")]
    logger = WandbLogger(project="p", dir=tmp_path)
    options = {"config": {}, "name": "run", "model": "m"}
    groups = [WandbTracker(logger, tmp_path, task=task, **options)._options["group"] for task in ids]
    assert groups[0] == "m/speech-v1-5h-a"
    assert len(set(groups)) == 5
    assert max(map(len, groups)) == 128


def test_none(tmp_path):
    record(tmp_path / "run", "none")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"task", "plots"}


def test_wandb_is_imported_only_when_chosen():
    code = "import sys, hear_exp.results.tracking; sys.exit('wandb' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_wandb_takes_infinite_and_undefined_scores(tmp_path):
    problem = scene_problem(tmp_path / "task", ["a", "b"], clips=30, kfold=True)
    result = result_of(problem, scene_outcome(problem))
    folds = tuple(replace(fold, scores={"d_prime": float("inf"), "mAP": None}) for fold in result.folds)
    with tracker(tmp_path) as tracking:
        tracking.finish(replace(result, folds=folds, scores={"d_prime": float("inf"), "mAP": None}), [], tmp_path)
    (records,) = offline_runs(tmp_path)
    summary = summaries(records)
    assert summary["test/d_prime"] in (float("inf"), "Infinity")
    assert "test/mAP" not in summary
    table = json.loads(next((tmp_path / "wandb").rglob("media/table/folds*")).read_text())
    assert "Infinity" in json.dumps(table["data"])
