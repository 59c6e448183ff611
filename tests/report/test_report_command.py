"""The command that compares runs: its table, results.csv and picture, on results of any age and form."""

from __future__ import annotations

import csv
import dataclasses
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fabricated import event_outcome, event_problem, result_of, scene_outcome, scene_problem
from rich.console import Console

from hear_exp.report.__main__ import main
from hear_exp.report.run_table import show_result
from hear_exp.report.runs import find_runs
from hear_exp.results.leaderboard import Rank
from hear_exp.results.result import Result, write_result
from hear_exp.scoring.event import Event


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Result:
    """Three folds of a scene task with two scores."""
    problem = scene_problem(tmp_path_factory.mktemp("scene"), ["a", "b"], kfold=True, metrics=["top1_acc", "mAP"])
    return result_of(problem, scene_outcome(problem))


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Result:
    problem = event_problem(tmp_path_factory.mktemp("events"), [[Event("a", 0, 1500)]], ["a", "b"])
    return result_of(problem, event_outcome(problem, [[Event("a", 10, 900), Event("b", 0, 500)]]))


def put(root: Path, name: str, result: Result, **changes: Any) -> Path:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    write_result(folder, replace(result, **changes))
    return folder


def shown(result: Result, folder: Path, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO())
    show_result(result, folder, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_show_result_of_folds(tmp_path, scene):
    (tmp_path / "plots").mkdir()
    text = shown(scene, tmp_path)
    assert "logmel on demo_scene" in text
    assert f"top1_acc     {scene.score:.4f} ± {scene.spread:.4f}" in text
    assert "mAP" in text
    assert "top1_acc_mean" not in text
    assert "3 folds" in text
    assert "(best of 8)" in text
    assert "embed 1.2, search 12.3, test 0.4" in text
    assert f"plots in {tmp_path}\n" in text


def test_a_score_of_a_published_task_has_its_place(tmp_path, scene):
    place = dataclasses.asdict(Rank("esc50", 2, 30, (), "X", 0.71, "Y", 0.69))
    text = shown(replace(scene, leaderboard=place), tmp_path, width=140)
    assert "rank 2 of 30 published scores and this one (below X 0.7100, above Y 0.6900)" in text
    assert "published scores" not in shown(scene, tmp_path)


def test_show_result_of_events(tmp_path, events):
    text = shown(events, tmp_path)
    assert "segment_1s_er ↓" in text
    assert "0.6667  (precision 0.5000, recall 1.0000)" in text
    assert "±" not in text


def test_show_result_in_a_narrow_terminal(tmp_path, events):
    text = shown(replace(events, model="[bold]m[/bold]", score=None), tmp_path / ("a" * 30), width=60)
    assert "[bold]m[/bold] on" in text
    assert str(tmp_path / ("a" * 30)) in text  # in one piece


def test_changed_protocol_is_said(tmp_path, scene):
    assert "hear2021 with shuffle=True" in shown(replace(scene, protocol_changes={"shuffle": True}), tmp_path)


def test_compare(tmp_path, scene, events, capsys):
    put(tmp_path, "one", scene, score=0.5)
    put(tmp_path, "two", scene, model="crepe", score=0.9, protocol_changes={"shuffle": True})
    put(tmp_path, "three", scene, model="none", score=None)
    er = {"primary_metric": "segment_1s_er", "higher_is_better": False, "task": "er"}
    put(tmp_path, "sweeps/a/0", events, score=0.8, **er)
    put(tmp_path, "sweeps/a/1", events, model="crepe", score=0.3, **er)
    assert main([f"paths.root={tmp_path}"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    models = [line.split()[0] for line in lines if "mlp" in line]
    assert models == ["crepe", "logmel", "none", "crepe", "logmel"]
    assert [line.split()[0] for line in lines if "★" in line] == ["crepe", "crepe"]
    assert "segment_1s_er ↓" in text
    assert "hear2021*" in text
    assert "undefined" in text
    assert "runs/sweeps/a/1" in text
    assert f"wrote {tmp_path}/report/results.csv" in text
    with (tmp_path / "report" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == ["0.9", "0.5", "", "0.3", "0.8"]
    assert rows[0]["std"] == str(scene.spread)
    assert rows[0]["mAP"] == str(scene.scores["mAP"])
    assert rows[0]["segment_1s_er"] == ""
    assert rows[0]["protocol_changes"] == '{"shuffle": true}'
    assert rows[0]["folder"] == str(tmp_path / "runs" / "two")
    assert (tmp_path / "report" / "scores.png").stat().st_size > 5000


def test_unreadable_results_are_named_and_skipped(tmp_path, scene, capsys):
    put(tmp_path, "good", scene)
    for name, content in {"bad": "{", "other": "[]"}.items():
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "result.json").write_text(content)
    assert main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"skipped: {tmp_path}/runs/bad/result.json" in text
    assert f"skipped: {tmp_path}/runs/other/result.json" in text
    assert len(find_runs(tmp_path)[0]) == 1


def csv_rows(root: Path) -> list[dict[str, str]]:
    with (root / "report" / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_seeds_are_one_row_and_every_run_stays_in_the_csv(tmp_path, scene, capsys):
    for seed, score in enumerate((0.5, 0.7)):
        put(tmp_path, f"seed{seed}", scene, score=score, seed=seed)
    put(tmp_path, "repeated", scene, score=0.99, seed=0, finished="2001-01-01T00:00:00")
    assert main([str(tmp_path)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "mlp" in line)
    assert f"★ 0.6000 ± {scene.spread:.4f} (folds) ± 0.1414 (2 seeds)" in line
    rows = csv_rows(tmp_path)
    assert [(row["score"], row["row"], row["counts"]) for row in rows] == [
        ("0.5", "1", "True"),
        ("0.7", "1", "True"),
        ("0.99", "1", "False"),
    ]
    assert rows[2]["why_not"] == "a newer run of the same seed and settings counts"
    assert rows[0]["row_seeds"] == "2"
    assert float(rows[0]["row_score"]) == pytest.approx(0.6)


def test_two_sizes_of_a_task_are_apart(tmp_path, scene, capsys):
    put(tmp_path, "small", scene, score=0.9, task_mode="5h")
    put(tmp_path, "full", scene, score=0.5, task_mode="full")
    assert main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "demo_scene (5h)" in text
    assert "demo_scene (full)" in text
    assert text.count("★") == 2
    assert [row["task_mode"] for row in csv_rows(tmp_path)] == ["5h", "full"]


def test_doubts_are_marked_and_listed(tmp_path, scene, capsys):
    put(tmp_path, "one", scene, score=0.9, doubts=("8 of 8 fits ended at max_epochs",))
    put(tmp_path, "two", scene, score=0.5, model="crepe")
    assert main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("logmel" in line and " !" in line for line in lines)
    assert "! demo_scene, logmel: 8 of 8 fits ended at max_epochs" in lines
    assert not any("crepe" in line and "!" in line for line in lines)
    assert [row["doubts"] for row in csv_rows(tmp_path)] == ["8 of 8 fits ended at max_epochs", ""]


def test_doubts_and_reasons_in_a_runs_table(tmp_path, scene):
    scores = {**scene.scores, "mAP": None, "d_prime": float("inf"), "d_prime_finite": 2.5}
    result = replace(scene, doubts=("3 clips validate",), scores=scores, undefined={"mAP": "no positives of b"})
    text = " ".join(shown(result, tmp_path).split())
    assert "doubt 3 clips validate" in text
    assert "undefined" in text
    assert "(no positives of b)" in text
    assert "d_prime inf" in text
    assert "d_prime_finite 2.5000" in text
    same = {**scene.scores, "d_prime": 2.5, "d_prime_finite": 2.5}
    assert "d_prime_finite" not in shown(replace(scene, scores=same), tmp_path)


def test_a_rank_that_is_not_comparable_says_why(tmp_path, scene):
    place = dataclasses.asdict(Rank("esc50", 2, 30, (), "X", 0.71, "Y", 0.69, False, "predictor knn, published: mlp"))
    text = shown(replace(scene, leaderboard=place), tmp_path, width=160)
    assert "not comparable (predictor knn, published: mlp): rank 2 of 30" in text


def test_names_command_neither_terminal_nor_spreadsheet(tmp_path, scene, capsys):
    evil = "\x1b]0;pwned\x07\x1b[2J"
    put(tmp_path, "one", scene, model=f"={evil}", task=evil, doubts=(evil,), predictor="@x", scores={"top1_acc": 1.0})
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "result.json").write_text('{"\\u001b[2J": 1}')
    assert main([str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "\x1b" not in shown(replace(scene, model=evil, task=evil, doubts=(evil,)), tmp_path)
    (row,) = csv_rows(tmp_path)
    assert (row["model"][:2], row["predictor"]) == ("'=", "'@x")
    assert float(row["row_score"]) == scene.score


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, scene, capsys):
    put(tmp_path, "one", scene)
    (tmp_path / "report").write_text("in the way")
    assert main([str(tmp_path)]) == 1
    found = capsys.readouterr()
    assert "★" in found.out
    assert found.err.startswith(f"hear_exp: cannot write the report into {tmp_path}/report: ")


def test_a_result_without_a_date_has_its_files(tmp_path, scene):
    put(tmp_path, "one", scene, finished="yesterday")
    (run,), _ = find_runs(tmp_path)
    assert run.date.year > 2020


def test_no_runs(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert f"no finished runs under {tmp_path}/runs" in capsys.readouterr().out
    assert not (tmp_path / "report").exists()


def test_command_without_torch(tmp_path, scene):
    put(tmp_path, "one", scene)
    code = "import sys, hear_exp.report.__main__ as r; r.main([sys.argv[1]]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True).returncode == 0
