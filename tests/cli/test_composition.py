"""Composing beside the job that Hydra runs."""

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime

from hear_exp.cli import composition
from hear_exp.cli.composition import composed_file
from hear_exp.errors import UserError


def test_a_shipped_file_has_its_defaults_list_applied():
    fixed, published = composed_file("protocol", "fixed"), composed_file("protocol", "hear2021")
    assert fixed.keys() == published.keys()
    assert (fixed["name"], fixed["shuffle"], fixed["grid_seed"]) == ("fixed", True, 42)
    assert "defaults" not in fixed


def test_of_files_that_are_not_shipped_nothing_is_known(start, tmp_path):
    """Also where the job that runs knows them."""
    path = tmp_path / "mine" / "protocol" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("defaults: [hear2021, _self_]\nname: mine\n")
    seen = []

    def job(config, folder, choices):
        seen.append((config["protocol"]["name"], dict(composed_file("protocol", "mine"))))

    start(job, "protocol=mine", "--config-dir", str(tmp_path / "mine"))
    assert seen == [("mine", {})]


def test_the_hydra_that_runs_is_left_as_it_is(start):
    composed_file.cache_clear()
    composition._shipped.cache_clear()
    states = []

    def job(config, folder, choices):
        def state():
            return GlobalHydra.instance().hydra, HydraConfig.get(), JobRuntime.instance().get("name")

        before = state()
        composed_file("protocol", "fixed")
        choices.composition.with_task_settings({"predictor": {"lr": 1}})
        states.append((before, state()))

    start(job)
    ((before, after),) = states
    assert [a is b for a, b in zip(before[:2], after[:2], strict=True)] == [True, True]
    assert before[2] == after[2]
    assert not GlobalHydra.instance().is_initialized()


def test_what_was_resolved_once_stays(start, tmp_path):
    """A run has one number and one time, whichever composition asks."""
    path = tmp_path / "mine" / "predictor" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("defaults: [mlp, _self_]\nname: mine-${run_id:}-${now:%f}\n")
    names = []

    def job(config, folder, choices):
        again = choices.composition.with_task_settings({"predictor": {"lr": 1}})["predictor"]
        assert again["lr"] == 1
        names.append((config["predictor"]["name"], again["name"]))

    start(job, "predictor=mine", "--config-dir", str(tmp_path / "mine"))
    ((name, again),) = names
    assert name == again


def test_a_defaults_list_without_a_place_for_the_task(compose, tmp_path):
    (tmp_path / "mine").mkdir()
    usual = (composition.conf_dir() / "config.yaml").read_text().splitlines()
    without = "\n".join(line for line in usual if "task_settings" not in line)
    (tmp_path / "mine" / "own.yaml").write_text(without)
    _, choices = compose("--config-dir", str(tmp_path / "mine"), "--config-name", "own")
    with pytest.raises(UserError, match=r"^the task has settings of its own \(predictor\.lr\), and the "):
        choices.composition.with_task_settings({"predictor": {"lr": 1}})
