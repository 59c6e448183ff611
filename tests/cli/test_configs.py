"""The shipped config files, as they stand."""

from hear_exp.cli.configs import names_in, near, task_configs


def test_task_files_can_be_read_without_composing_them():
    assert list(task_configs()) == names_in("task")
    for content in task_configs().values():
        assert "defaults" not in content


def test_near():
    assert near("predictor.lrr") == ", did you mean predictor.lr?"
    assert near("predictor.zzzzz") == ""
