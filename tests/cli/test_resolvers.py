"""What config files compute: task=custom is called as its task is."""

import pytest
from conftest import leave_result
from tiny import write_task

from hear_exp.cli.resolvers import task_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("birds", "birds"),
        ("my birds/2 (new)", "my_birds_2_new"),
        ("../../up", "up"),
        ("...", "custom"),
        ("é" * 200, "é" * 80),
    ],
)
def test_task_name(tmp_path, name, safe):
    assert task_name(str(write_task(tmp_path / "folder", task_name=name))) == safe


def test_a_folder_that_cannot_be_read_gives_its_own_name(tmp_path):
    (tmp_path / "mine").mkdir()
    assert task_name(str(tmp_path / "mine")) == "mine"
    (tmp_path / "mine" / "task_metadata.json").write_text("[")
    assert task_name(str(tmp_path / "mine")) == "mine"
    (tmp_path / "mine" / "task_metadata.json").write_text('{"task_name": 3}')
    assert task_name(str(tmp_path / "mine")) == "mine"
    assert task_name(None) == "custom"


@pytest.mark.slow
def test_runs_of_custom_tasks_are_in_folders_of_their_tasks(start, tmp_path):
    one, other = (write_task(tmp_path / name, task_name=f"{name} calls") for name in ("bird", "frog"))
    seen = []

    def job(config, folder, choices):
        seen.append((config["task"]["name"], str(folder.relative_to(tmp_path))))
        leave_result(folder)

    start(job, "task=custom", f"task.path={one}")
    start(job, "-m", "task=custom", f"task.path={one},{other}")
    assert [name for name, _ in seen] == ["bird_calls", "bird_calls", "frog_calls"]
    assert seen[0][1].startswith("runs/bird_calls/logmel/")
    assert [folder.rpartition("/")[2] for _, folder in seen[1:]] == ["0-bird_calls-logmel", "1-frog_calls-logmel"]
