"""A run that is there is not computed again; stages; two processes that want the same run."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import write_task

from hear_exp import pipeline
from hear_exp.__main__ import run
from hear_exp.results.result import read_result

pytestmark = pytest.mark.slow

KNN = ["model=hear", "model.module=tiny_model", "trainer=cpu", "search.workers=1", "predictor=knn", "logger=none"]


@pytest.fixture
def job(start, tmp_path, monkeypatch):
    """job("seed=1", ...) runs a small task; returns how many searches that took."""
    folder = write_task(tmp_path / "tiny_task", clips=6)
    searches: list[str] = []
    search = pipeline.search
    monkeypatch.setattr(pipeline, "search", lambda *args: searches.append("") or search(*args))

    def ran(*arguments: str, task: Path = folder) -> int:
        before = len(searches)
        start(run, "task=custom", f"task.path={task}", *KNN, *arguments)
        return len(searches) - before

    return ran


def runs() -> list[Path]:
    return sorted(path.parent for path in Path("runs").rglob("result.json"))


def folders() -> list[Path]:
    return sorted(path.parent for path in Path("runs").rglob(".hydra"))


# The result is there ----------------------------------------------------------------------------------------


def test_the_same_command_shows_the_result_that_is_there(job, capfd):
    assert job() == 1
    (folder,) = runs()
    content = (folder / "result.json").read_bytes()
    capfd.readouterr()
    assert job() == 0
    assert (folder / "result.json").read_bytes() == content
    assert folders() == [folder]  # no folder more
    shown = " ".join(capfd.readouterr().err.split())
    assert "this run was there already (finished 20" in shown
    assert "rerun=true computes it anew" in shown
    assert str(folder) in shown
    assert "top1_acc 1.0000" in shown


def test_rerun_computes_it_anew(job):
    job()
    assert job("rerun=true") == 1
    assert len(runs()) == 2
    ours, theirs = (read_result(folder) for folder in runs())
    assert (ours.identity, ours.scores) == (theirs.identity, theirs.scores)
    assert job() == 0


@pytest.mark.parametrize(
    "change", ["seed=43", "predictor.k=[2]", "protocol=fixed", "model.name=other", "model.options={noise: 0.25}"]
)
def test_another_run_is_computed(job, change):
    job()
    assert job(change) == 1
    assert len(runs()) == 2


def test_another_task_of_the_same_name_is_another_run(job, tmp_path):
    job()
    other = write_task(tmp_path / "other", clips=6, seed=1)
    assert job(task=other) == 1


def test_what_changes_no_score_makes_no_other_run(job, tmp_path):
    """Another place for the same clips, other workers, another logger."""
    job()
    moved = shutil.copytree(tmp_path / "tiny_task", tmp_path / "moved")
    assert job("logger=csv", "search.workers=2", "data.in_memory=false", task=moved) == 0


def test_a_result_that_is_gone_is_computed_again(job):
    job()
    (folder,) = runs()
    (folder / "result.json").unlink()
    assert job() == 1


def test_a_result_that_is_another_one_by_now_is_not_taken(job):
    """Somebody wrote into the folder that the index names."""
    job()
    (folder,) = runs()
    content = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**content, "identity": "0123456789abcdef"}))
    assert job() == 1


def test_runs_that_were_moved_together_are_found(job):
    job()
    shutil.move("runs", "elsewhere")
    assert job("paths.runs=elsewhere") == 0


def test_a_sweep_does_what_is_missing(job, capfd):
    assert job("-m", "seed=1,2") == 2
    first = runs()
    capfd.readouterr()
    assert job("-m", "seed=1,2,3") == 1
    found = sorted(Path("runs/sweeps").glob("*/*/found.json"))
    assert [path.parent.name[0] for path in found] == ["0", "1"]
    assert [Path(json.loads(path.read_text())["folder"]) for path in found] == [folder.resolve() for folder in first]
    assert "found" in capfd.readouterr().err


def test_a_job_whose_own_folder_has_the_result(job, tmp_path):
    """As when a scheduler starts it once more."""
    job(f"hydra.run.dir={tmp_path}/runs/one")
    assert job(f"hydra.run.dir={tmp_path}/runs/one") == 0
    assert not (tmp_path / "runs/one/found.json").exists()


def test_a_result_that_cannot_be_noted_is_there_all_the_same(job, monkeypatch, capfd):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline.Index, "add", full_disk)
    assert job() == 1
    (folder,) = runs()
    assert not (folder / "error.json").exists()
    assert "the run was not noted as finished" in " ".join(capfd.readouterr().err.split())


# Two at once ------------------------------------------------------------------------------------------------


def test_of_two_processes_one_computes_and_the_other_takes_its_result(tmp_path):
    folder = write_task(tmp_path / "tiny_task", clips=6)
    command = [sys.executable, "-m", "hear_exp", "task=custom", f"task.path={folder}", *KNN, f"paths.root={tmp_path}"]
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    processes = [subprocess.Popen(command, cwd=tmp_path, **options) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(list(tmp_path.glob("runs/**/result.json"))) == 1, outputs
    assert sum("this run was there already" in " ".join(output.split()) for output in outputs) == 1, outputs


# Stages -----------------------------------------------------------------------------------------------------


def test_embed_fills_the_cache_and_fit_takes_what_is_in_it(job):
    assert job("stage=embed") == 0
    (note,) = Path("runs").rglob("embedded.json")
    content = json.loads(note.read_text())
    assert (content["task"], content["clips"], content["computed_clips"]) == ("tiny", 18, 18)
    assert runs() == []
    assert job("stage=embed") == 0
    assert [json.loads(path.read_text())["computed_clips"] for path in sorted(Path("runs").rglob("embedded.json"))] in (
        [0, 18],
        [18, 0],
    )
    assert job("stage=fit") == 1
    (folder,) = runs()
    assert read_result(folder).embedding_key == content["embedding_key"]
    assert job("stage=all") == 0


def test_fit_without_embeddings_fails_at_once(job, capsys):
    started = time.monotonic()
    with pytest.raises(SystemExit):
        job("stage=fit")
    assert time.monotonic() - started < 30
    said = " ".join(capsys.readouterr().err.split())
    assert "the embeddings of tiny by hear are not in the cache" in said or "by tiny_model are not in the cache" in said
    assert "stage=fit computes none: the same command with stage=embed does" in said
    assert list(Path("data/embeddings").rglob("*.f32")) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["stage=train"], "stage is 'train', expected one of: all, embed, fit"),
        (["rerun=maybe"], "rerun is 'maybe', expected true or false"),
        (
            ["stage=embed", "embeddings=heareval", "embeddings.path=x"],
            "stage=embed has no effect with embeddings=heareval",
        ),
    ],
)
def test_bad_stages(start, capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        start(run, *arguments)
    assert sentence in " ".join(capsys.readouterr().err.split())
