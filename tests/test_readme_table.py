"""scripts/readme_table.py: the README's table from runs, and back; the real README's table has the form it reads."""

import datetime
import json
import sys
from dataclasses import replace
from pathlib import Path

import marked
import pytest
import readme_table

from hear_exp.errors import UserError
from hear_exp.report.runs import Run, compare
from hear_exp.results.result import Result, write_result

TABLE = """\
| task | score | crepe | naive |
|---|---|---|---|
| `demo_scene`: pitch of notes | pitch_acc | 0.1 | 0.1 |
| `demo_folds`: kinds of sound, 5 folds | accuracy | 0.1 | 0.1 |"""
FILLED = """\
| task | score | crepe | naive |
|---|---|---|---|
| `demo_scene`: pitch of notes | pitch_acc | **0.944** | undefined |
| `demo_folds`: kinds of sound, 5 folds | accuracy | 0.440 ± 0.045 | **0.667 ± 0.035** |"""
RUNS = (  # task, primary metric, model, score, deviation over folds
    ("demo_scene", "pitch_acc", "crepe", 0.94444, None),
    ("demo_scene", "pitch_acc", "naive", None, None),
    ("demo_folds", "top1_acc", "crepe", 0.44047, 0.04454),
    ("demo_folds", "top1_acc", "naive", 0.66666, 0.03470),
)


def result(task: str, metric: str, model: str, score: float | None, spread: float | None) -> Result:
    scores = {metric: score, **({f"{metric}_std": spread} if spread else {})}
    return Result(
        model=model,
        task=task,
        task_version="1",
        protocol="hear2021",
        protocol_changes={},
        primary_metric=metric,
        higher_is_better=True,
        score=score,
        scores=scores,
        validation_score=0.5,
        folds=(),
        predictor="mlp",
        hyperparameters={"lr": 1e-3},
        grid=(),
        seed=0,
        seconds={"search": 60.0},
        clips=10,
        embedding_key="k1",
        embedding_dim=8,
    )


def comparisons(*runs):
    date = datetime.datetime(2026, 1, 1)
    return compare([Run(result(*run), Path(f"runs/{i}"), date) for i, run in enumerate(runs)])


@pytest.fixture
def readme(tmp_path, monkeypatch):
    """A README whose one command makes the runs of RUNS in the folder where it is run."""
    monkeypatch.setattr(readme_table, "README", tmp_path / "README.md")
    monkeypatch.setattr(readme_table, "PLOTS", {"confusion.png": ("demo_scene", "crepe")})
    (tmp_path / "docs/images").mkdir(parents=True)
    finished = tmp_path / "finished"
    for i, run in enumerate(RUNS):
        (finished / f"runs/{i}/plots").mkdir(parents=True)
        write_result(finished / f"runs/{i}", result(*run))
        (finished / f"runs/{i}/plots/confusion.png").write_bytes(run[2].encode())
    (finished / "report").mkdir()
    (finished / "report/scores.png").write_bytes(b"scores")
    command = f"import shutil, sys; shutil.copytree({str(finished)!r}, sys.argv[1], dirs_exist_ok=True)"
    text = f"<!-- command: sweep -->\n```bash\npython -c {json.dumps(command)} .\n```\n<!-- end -->\n"
    (tmp_path / "README.md").write_text(f"before\n{text}<!-- table: sweep -->\n{TABLE}\n<!-- end -->\nafter\n")
    return tmp_path / "README.md"


def test_the_commands_are_run_once_and_fill_table_and_pictures(readme, tmp_path, capfd):
    before = readme.read_text()
    assert readme_table.main([str(tmp_path / "here")]) == 0
    assert readme.read_text() == before.replace(TABLE, FILLED)
    images = tmp_path / "docs/images"
    assert {path.name: path.read_bytes() for path in images.iterdir()} == {
        "scores.png": b"scores",
        "confusion.png": b"crepe",
    }
    assert "4 runs of 4.0 minutes in all" in capfd.readouterr().out
    assert readme_table.main([str(tmp_path / "here")]) == 0
    assert "$ python" not in capfd.readouterr().out  # its runs are there


def test_check_names_what_differs_and_changes_nothing(readme, tmp_path, capsys):
    before = readme.read_text()
    assert readme_table.main([str(tmp_path / "finished"), "--check"]) == 1
    said = capsys.readouterr().out
    for path in (readme, tmp_path / "docs/images/scores.png", tmp_path / "docs/images/confusion.png"):
        assert f"differs: {path}" in said
    assert readme.read_text() == before
    assert not list((tmp_path / "docs/images").iterdir())
    readme_table.main([str(tmp_path / "finished")])
    assert readme_table.main([str(tmp_path / "finished"), "--check"]) == 0
    (tmp_path / "docs/images/scores.png").write_bytes(b"others")
    assert readme_table.main([str(tmp_path / "finished"), "--check"]) == 1


def test_a_picture_older_than_the_runs_is_not_shown(readme, tmp_path, capsys):
    (tmp_path / "finished/report/scores.png").unlink()
    with pytest.raises(SystemExit):
        readme_table.main([str(tmp_path / "finished"), "--check"])
    assert "python -m hear_exp.report" in capsys.readouterr().err


def test_a_failing_command_leaves_the_readme(readme, tmp_path, capfd):
    text = readme.read_text().replace("import shutil, sys;", "import sys; sys.exit(3);")
    readme.write_text(text)
    with pytest.raises(SystemExit):
        readme_table.main([str(tmp_path / "here")])
    assert "ended with status 3" in capfd.readouterr().err
    assert readme.read_text() == text


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        (RUNS[:3], "models on demo_folds: the README's table has crepe, naive; the runs have crepe"),
        (RUNS[:2], "tasks: the README's table has demo_scene, demo_folds; the runs have demo_scene"),
        ((*RUNS, ("demo_tags", "mAP", "crepe", 0.5, None)), "the runs have demo_folds, demo_scene, demo_tags"),
    ],
)
def test_runs_that_the_table_does_not_show_and_the_reverse(runs, sentence):
    with pytest.raises(UserError, match=sentence):
        readme_table.filled(TABLE, comparisons(*runs))


def test_two_rows_of_a_model_are_not_shown_as_one():
    linear = replace(result(*RUNS[2]), predictor="linear")
    both = [Run(result(*run), Path("a"), datetime.datetime(2026, 1, 1)) for run in RUNS]
    with pytest.raises(UserError, match="models on demo_folds"):
        readme_table.filled(TABLE, compare([*both, Run(linear, Path("b"), datetime.datetime(2026, 1, 2))]))


def test_the_projects_own_readme_can_be_filled():
    """Its commands are this Python's, and filling its table with other numbers keeps words, order and columns."""
    lines = marked.between(readme_table.README, readme_table.COMMANDS).splitlines()
    assert [line.split()[:3] for line in lines if not line.startswith("```")] == [
        ["python", "-m", "hear_exp"],
        ["python", "-m", "hear_exp.report"],
    ]
    table = marked.between(readme_table.README, readme_table.TABLE)
    tasks = [readme_table._task(row) for row in table.splitlines()[2:]]
    models = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")][2:]
    assert (len(tasks), models) == (4, ["crepe", "logmel", "naive"])
    made = comparisons(*((task, "mAP", model, 0.5, None) for task in tasks for model in models))
    filled = readme_table.filled(table, made)
    assert [row.split("|")[1:3] for row in filled.splitlines()] == [row.split("|")[1:3] for row in table.splitlines()]
    assert filled.count("**0.500**") == 12


@pytest.mark.parametrize("text", ["none", "<!-- table: a -->\nx\n", "<!-- table: a -->\nx\n<!-- end -->\n" * 2])
def test_markers_are_there_once(tmp_path, text):
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(UserError, match=r"once; found: [02] times"):
        marked.between(tmp_path / "a.md", "table: a")


@pytest.mark.slow
def test_scripts_run_as_programs():
    import subprocess

    for script in (Path(readme_table.__file__), Path(readme_table.__file__).with_name("parity_table.py")):
        done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert f"python scripts/{script.name}" in done.stdout
