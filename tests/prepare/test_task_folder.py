import os

import pytest

from hear_exp.errors import UserError
from hear_exp.prepare.task_folder import appearing


def test_the_old_task_is_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "task"
    target.mkdir()
    (target / "old").touch()
    replace, moved = os.replace, []

    def failing_the_second_time(source, destination):
        moved.append(destination)
        if len(moved) == 2:
            raise OSError(28, "No space left on device", str(source))
        replace(source, destination)

    monkeypatch.setattr(os, "replace", failing_the_second_time)
    with pytest.raises(UserError, match=f"cannot write {target}: .*No space left"), appearing(target, True) as building:
        (building / "new").touch()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert os.listdir(tmp_path) == ["task"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write in .*file"), appearing(tmp_path / "file" / "task", False):
        pass
