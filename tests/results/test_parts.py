"""A task that HEAR published in parts: run part by part, and averaged."""

from pathlib import Path

import pytest
from tiny import write_task

from hear_exp.errors import UserError
from hear_exp.settings import plans


def bees(tmp_path, **options) -> Path:
    for i in range(2):
        write_task(
            tmp_path / f"tasks/beehive_states_fold{i}-v2-full",
            clips=12,
            task_name=f"beehive_states_fold{i}",
            metrics=["aucroc", "top1_acc"],
            seed=i,
            **options,
        )
    return tmp_path / "tasks"


def test_beehive_needs_both_parts(settings_of, tmp_path):
    folder = bees(tmp_path)
    settings, overrides = settings_of("task=beehive_states", f"paths.tasks={folder}")
    assert [task.name for task in plans.load_tasks(settings, overrides)] == [
        "beehive_states_fold0",
        "beehive_states_fold1",
    ]
    with pytest.raises(UserError, match=r"^beehive_states consists of 2 tasks, take one: task=custom with task\.path="):
        plans.load_task(settings, overrides)
    (folder / "beehive_states_fold1-v2-full").rename(folder / "else")
    with pytest.raises(
        UserError, match=r"^beehive_states is not there yet \(.*fold1-v2-full\).*task=beehive_states paths"
    ):
        plans.load_tasks(settings, overrides)


@pytest.mark.slow
def test_beehive_is_run_part_by_part_and_averaged(start, tmp_path):
    from hear_exp.__main__ import run
    from hear_exp.report.runs import find_runs
    from hear_exp.results.result import read_result

    arguments = ["model=hear", "model.module=tiny_model", "trainer=cpu", "logger=csv", "search.workers=1"]
    arguments += ["predictor.hidden_dim=16", "predictor.hidden_layers=1", "predictor.lr=[1e-2,1e-3]"]
    arguments += ["predictor.max_epochs=6", "predictor.initialization=xavier_uniform"]
    start(run, "task=beehive_states", f"paths.tasks={bees(tmp_path, noise=0.5)}", *arguments)
    (folder,) = (path.parent for path in Path("runs").rglob("result.json"))
    result = read_result(folder)
    assert (result.task, result.primary_metric, result.clips) == ("beehive_states", "aucroc", 72)
    assert [fold.test_split for fold in result.folds] == ["beehive_states_fold0/test", "beehive_states_fold1/test"]
    scores = [fold.scores["aucroc"] for fold in result.folds]
    assert result.score == result.scores["aucroc_mean"] == pytest.approx(sum(scores) / 2)
    assert result.spread == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    assert result.leaderboard["task"] == "beehive_states"
    assert not result.leaderboard["comparable"]
    changed = "changed in the predictor: hidden_dim, hidden_layers, initialization, lr, max_epochs"
    assert result.leaderboard["why_not"] == f"{changed}; mode unknown, published: full"
    assert set(result.parts) == {"beehive_states_fold0", "beehive_states_fold1"}
    assert [part["score"] for part in result.parts.values()] == scores
    keys = [part["embedding_key"] for part in result.parts.values()]
    assert keys[0] != keys[1]
    for part in result.parts:
        assert (folder / "parts" / part / "predictor.pt").is_file()
        assert (folder / "parts" / part / "predictions" / "test.npz").is_file()
    rows = (folder / "metrics.csv").read_text()
    assert "fit,beehive_states_fold1/test,1," in rows
    assert len(find_runs(Path("."))[0]) == 1
