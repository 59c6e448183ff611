"""conf/experiment: sweeps that a person can copy, each of tasks that are there to choose."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hear_exp.cli.configs import conf_dir, names_in, read_config, task_configs

HEAR = {name for name, task in task_configs().items() if task.get("archives")}
OPEN = {"dcase2016", "nsynth_pitch_5h", "nsynth_pitch_50h", "speech_commands_5h", "speech_commands_full"}


def tasks_of(name):
    params = read_config(conf_dir() / "experiment" / f"{name}.yaml")["hydra"]["sweeper"]["params"]
    tasks = list(OverridesParser.create().parse_override(f"task={params['task']}").sweep_string_iterator())
    assert len(tasks) == len(set(tasks))
    return set(tasks)


def packed_bytes(name):
    """An upper bound: the audio of the archive unpacked, 16 bit at 48 kHz; unknown where clips differ in length."""
    about = task_configs()[name]["about"]
    return about["clips"] * about["seconds"] * 96000 if isinstance(about["seconds"], float) else float("inf")


def test_which_tasks():
    assert len(HEAR) == 19
    assert tasks_of("hear") == tasks_of("quick") == HEAR
    assert tasks_of("hear_open") == OPEN
    assert tasks_of("hear_small") == {name for name in HEAR if packed_bytes(name) < 1e9}
    assert tasks_of("demo") == {name for name, task in task_configs().items() if task["demo"]}


@pytest.mark.parametrize("name", names_in("experiment"))
def test_an_experiment_is_a_sweep_also_without_the_flag(jobs_of, name):
    number = len(tasks_of(name))
    for flag in ([], ["-m"]):
        jobs = jobs_of(*flag, f"experiment={name}", "model=naive,logmel")
        assert len(jobs) == 2 * number
        assert all("model=naive" in job or "model=logmel" in job for job in jobs)


def test_what_is_typed_wins_over_the_file(jobs_of):
    jobs = jobs_of("experiment=quick", "task=esc50,gtzan_genre", "predictor=linear")
    assert jobs == [[f"task={task}", "predictor=linear", "experiment=quick"] for task in ("esc50", "gtzan_genre")]
    assert [job[1] for job in jobs_of("experiment=quick")] == ["predictor=knn"] * 19
