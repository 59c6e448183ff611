"""Fixtures of the tests of prepare."""

import os

import pytest

from hear_exp.prepare.__main__ import prepare
from hear_exp.prepare.options import Options
from hear_exp.tasks.folder import read_task


@pytest.fixture
def go(tmp_path):
    """go(folder=..., ...): prepares tmp_path/out/task and reads it."""

    def run(**options):
        out = tmp_path / "out" / "task"
        values = {
            name: (value,) if name == "table" and isinstance(value, str) else value for name, value in options.items()
        }
        if "folder" in values:
            values["folder"] = str(values["folder"])
        prepare(Options(**{"out": str(out), "name": "task", **values}))
        assert os.listdir(out.parent) == ["task"]
        return read_task(out)

    return run
