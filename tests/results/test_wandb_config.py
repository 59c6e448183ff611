"""The config and the tags of a wandb run: all that runs are filtered by, in text that wandb takes."""

import json
import subprocess
from pathlib import Path

import pytest

import hear_exp
from hear_exp.results.task_id import TaskId
from hear_exp.results.wandb_config import clean, limited, run_config, run_tags, sweep_id

ABOUT = {"domain": "environmental sound", "kind": "scene, multiclass"}
CONFIG = {
    "task": {"name": "esc50", "about": ABOUT},
    "protocol": {"name": "hear2021"},
    "predictor": {"name": "mlp", "lr": 1e-3},
    "model": {"name": "logmel", "module": "hear_exp.models.logmel"},
}
TASK = TaskId("esc50", "v2.0.0", "full", "abc")


def test_a_run_in_a_sweep(tmp_path):
    folder = tmp_path / "2026-11-24_10-00-00-ab" / "0-esc50-logmel"
    folder.mkdir(parents=True)
    assert sweep_id(folder) == ""
    (folder.parent / "sweep.json").write_text("{}")
    config = run_config(CONFIG, TASK, folder)
    assert config["sweep.id"] == "2026-11-24_10-00-00-ab"
    assert config["run.folder"] == str(folder)
    assert config["task.about.domain"] == "environmental sound"
    assert config["task.about.kind"] == "scene, multiclass"
    assert (config["task.name"], config["protocol.name"], config["predictor.name"]) == ("esc50", "hear2021", "mlp")
    assert (config["task_mode"], config["task_digest"], config["predictor.lr"]) == ("full", "abc", 1e-3)
    expected = ["mine", "current", "2026-11-24_10-00-00-ab", "esc50", *ABOUT.values(), "hear2021", "mlp"]
    assert run_tags(["mine"], CONFIG, TASK, folder) == expected


def test_tags_that_wandb_would_refuse(tmp_path):
    """Empty, longer than 64 characters, twice the same, or with what no terminal and no UTF-8 text can hold."""
    config = {"task": {"about": None}, "predictor": {"name": "x" * 100}, "protocol": None}
    tags = run_tags(["", " a ", "a", "b\nc", "\ud800", 7], config, TaskId("ü" * 64), tmp_path)
    assert tags[:6] == ["a", "b\\nc", "\\ud800", "7", "current", "ü" * 64]
    assert [len(tag) for tag in tags[6:]] == [64]
    wandb = pytest.importorskip("wandb")
    assert wandb.Settings(run_tags=tuple(tags)).run_tags == tuple(tags)


def test_names_that_differ_after_the_cut_still_differ():
    assert limited("a" * 129) != limited("a" * 130)
    assert len(limited("a" * 129)) == 128
    assert limited("a" * 128) == "a" * 128


def test_text_that_is_no_unicode_is_spelt_out(tmp_path):
    odd = {"a\udcff": ["b\udcff", {"c\udcff": (1, None, "ä\n")}]}
    cleaned = clean(odd)
    assert cleaned == {"a\\udcff": ["b\\udcff", {"c\\udcff": [1, None, "ä\n"]}]}
    json.dumps(cleaned, ensure_ascii=False).encode()
    config = run_config({"paths": {"root": Path("r\udcff")}}, TASK, tmp_path / "f\udcff")
    assert config["paths.root"] == "r\\udcff"
    assert config["run.folder"].endswith("f\\udcff")


def test_commits_of_the_package_and_of_the_model(tmp_path, monkeypatch):
    folder = tmp_path / "my_checkout"
    folder.mkdir()
    (folder / "a_model_of_mine.py").write_text("")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout.strip()
    monkeypatch.syspath_prepend(folder)
    config = run_config({"model": {"module": "a_model_of_mine"}}, TASK, tmp_path)
    assert (config["git.model.commit"], config["git.model.changed"]) == (commit, False)
    own = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(hear_exp.__file__).parent, capture_output=True, text=True
    )
    assert config.get("git.commit", "") == (own.stdout.strip() if own.returncode == 0 else "")


@pytest.mark.parametrize("module", [None, "", "no_such_module", "..", "hear_exp.models.logmel", "json"])
def test_modules_of_no_checkout(module, tmp_path):
    assert "git.model.commit" not in run_config({"model": {"module": module}}, TASK, tmp_path)
