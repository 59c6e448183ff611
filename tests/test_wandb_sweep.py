"""conf/wandb_sweep.yaml: the command that an agent of W&B makes of it runs, into the run that the agent has made."""

import os
import subprocess
import sys

import pytest
import yaml
from tiny import write_task
from wandb_records import offline_runs, run_id, values

from hear_exp.cli.configs import conf_dir


def sweep():
    return yaml.safe_load((conf_dir() / "wandb_sweep.yaml").read_text())


def agents_command(content, point):
    """As W&B documents its macros: each is replaced by words, the parameters as NAME=VALUE."""
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [content["program"]],
        "${args_no_hyphens}": [f"{name}={value}" for name, value in point.items()],
    }
    return [word for chunk in content["command"] for word in macros.get(chunk, [chunk])]


def test_the_file_is_a_sweep_of_our_options():
    content = sweep()
    point = {name: of["values"][0] for name, of in content["parameters"].items()}
    command = agents_command(content, point)
    expected = ["task=demo_scene", "model=logmel", "predictor.lr=0.001"]
    assert command == ["/usr/bin/env", "python", "-m", "hear_exp", *expected]
    assert content["metric"]["name"] == "validation_score"


@pytest.mark.slow
@pytest.mark.parametrize("multirun", [False, True])
def test_a_job_of_an_agent_takes_its_run(tmp_path, multirun):
    task = write_task(tmp_path / "task", clips=12)
    point = {"model": "hear", "model.module": "tiny_model", "task": "custom", "task.path": task, "trainer": "cpu"}
    point |= {"predictor.lr": 0.01, "predictor.max_epochs": 3, "predictor.hidden_dim": 16, "search.workers": 1}
    point |= {"predictor.hidden_layers": 1, "predictor.initialization": "xavier_uniform"}
    command = agents_command(sweep(), point) + (["-m", "seed=1,2"] if multirun else [])
    command[1] = sys.executable
    params = tmp_path / "params.yaml"
    params.write_text("wandb_version: 1\npredictor.lr:\n  value: 0.01\n")
    agent = {"WANDB_SWEEP_ID": "swp", "WANDB_RUN_ID": "agents", "WANDB_SWEEP_PARAM_PATH": str(params)}
    environment = {**os.environ, **agent, "WANDB_MODE": "offline", "WANDB_PROJECT": "of_the_agent"}
    environment["PYTHONPATH"] = os.path.dirname(__file__)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    runs = offline_runs(tmp_path)
    sweeps = [next(r.run for r in records if r.HasField("run")).sweep_id for records in runs]
    if multirun:  # two jobs cannot share the agent's one run
        assert sweeps == ["", ""]
        assert len({run_id(records) for records in runs} - {"agents"}) == 2
        return
    (records,) = runs
    run = next(r.run for r in records if r.HasField("run"))
    assert (run.run_id, run.sweep_id, run.project) == ("agents", "swp", "of_the_agent")
    summary = values(item for r in records for item in r.summary.update)
    assert 0 <= summary["validation_score"] <= 1
