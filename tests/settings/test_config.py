"""One typed model of the config: every shipped config fits it, and whatever does not fit is a sentence."""

import copy
from pathlib import Path

import pytest
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hear_exp.cli.configs import conf_dir, names_in
from hear_exp.embeddings.model_choice import Model
from hear_exp.errors import UserError
from hear_exp.prediction.knn import NearestNeighbours
from hear_exp.results.tracking import CsvLogger, NoLogger
from hear_exp.results.wandb_logger import WandbLogger
from hear_exp.settings.config import Computed, ExportSettings, Imported, Settings
from hear_exp.settings.fields import read
from hear_exp.validate.options import ValidationSettings

GROUPS = ("model", "task", "predictor", "protocol", "embeddings", "trainer", "logger", "paths", "experiment")
KINDS = {"config": Settings, "export_heareval": ExportSettings, "validate": ValidationSettings}
GONE = object()


def composed(*overrides, name="config"):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        content = OmegaConf.to_container(compose_config(name, list(overrides)), resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return content


def changed(config, option, value):
    """``config`` with another value of a dotted option, or without it."""
    config = copy.deepcopy(config)
    *groups, last = option.split(".")
    group = config
    for step in groups:
        group = group[step]
    if value is GONE:
        del group[last]
    else:
        group[last] = value
    return config


@pytest.fixture(scope="module")
def config():
    return composed("model=hear", "model.module=tiny_model", "task=custom", "paths.root=R")


# What fits --------------------------------------------------------------------------------------------------


# What a file leaves to whoever chooses it.
MANDATORY = dict.fromkeys(("model=hf_audio", "model=hf_waveform"), ("model.checkpoint=some/model",))


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_every_shipped_config_fits(group):
    for name in names_in(group):
        settings = read(Settings, composed(f"{group}={name}", *MANDATORY.get(f"{group}={name}", ())))
        if group in ("predictor", "protocol", "logger", "embeddings"):
            assert getattr(settings, group).name == name


@pytest.mark.parametrize("name", KINDS)
def test_the_other_commands_fit_what_they_read_of_it(name):
    read(KINDS[name], composed(name=name))


def test_the_demo():
    settings = read(Settings, composed("paths.root=R"))
    assert (settings.seed, settings.data.in_memory, settings.search.workers, settings.search.threads) == (
        *(42, "auto", "auto"),
        1,
    )
    assert settings.model == Model("logmel", "hear_exp.models.logmel")
    assert (settings.task.name, settings.task.path, settings.task.demo) == (
        *("demo_scene", Path("R/data/tasks/demo_scene")),
        True,
    )
    assert (settings.task.archives, settings.task.parts, settings.task.predictor_grid) == (None, None, {})
    assert settings.embeddings == Computed(name="compute", batch_seconds=60)
    assert (settings.trainer.accelerator, settings.trainer.precision) == ("auto", "32-true")
    assert (settings.paths.embeddings, settings.paths.fits) == (Path("R/data/embeddings"), Path("R/data/fits"))
    assert settings.protocol.median_filter_ms == (250,)


def test_a_predictors_hyperparameters_are_its_own():
    """Also those that are called as something of ours."""
    settings = read(Settings, composed("predictor=knn", "+predictor.copy=[1,2]", "+predictor.kind=x"))
    assert (settings.predictor.name, settings.predictor.kind) == ("knn", NearestNeighbours)
    assert settings.predictor.hyperparameters == {
        **{"k": [1, 5, 10, 20, 50], "metric": "cosine", "temperature": 0.07, "batch_size": 1024},
        **{"copy": [1, 2], "kind": "x"},
    }


def test_a_task_in_parts_and_with_settings_of_its_own():
    bees = read(Settings, composed("task=beehive_states")).task
    assert bees.parts == bees.archives == ("beehive_states_fold0-v2-full", "beehive_states_fold1-v2-full")
    maestro = read(Settings, composed("task=maestro_5h")).task
    assert (maestro.task_name, maestro.leaderboard, maestro.early_stop_on_score) == ("maestro", "maestro_5h", False)
    assert maestro.postprocessing_grid == {"median_filter_ms": [150], "min_duration": [50]}


def test_embeddings_made_elsewhere(tmp_path):
    settings = read(Settings, composed("embeddings=heareval", f"embeddings.path={tmp_path}"))
    assert settings.embeddings == Imported(name="heareval", path=tmp_path, model=tmp_path.parent.name)


def test_loggers(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert read(Settings, composed("logger=none")).logger == NoLogger()
    assert read(Settings, composed("logger=csv")).logger == CsvLogger()
    wandb = read(Settings, composed("logger.project=2024", "logger.tags=[a,1]", "paths.root=R")).logger
    assert wandb == WandbLogger(project="2024", dir=Path("R"), mode=None, tags=("a", "1"))
    assert wandb.used_mode == "offline"


def test_models(config):
    assert read(Settings, config).model == Model("tiny_model", "tiny_model")
    bare = read(Settings, {**config, "model": {"name": "m", "module": "m", "leaderboard": "M", "weights": None}})
    assert bare.model == Model("m", "m")
    assert bare.model.settings == {"module": "m", "weights": ""}


def test_names_of_ones_own_are_left_alone(config):
    """A file of one's own may keep values for its interpolations in any group."""
    mine = {**config, "mine": 1, "paths": {**config["paths"], "mine": 2}, "search": {**config["search"], "mine": 3}}
    assert read(Settings, mine) == read(Settings, config)


def test_settings_cannot_be_changed(config):
    settings = read(Settings, config)
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1


# What does not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("seed", "abc", "seed is 'abc', expected a whole number from 0 up"),
        ("seed", True, "seed is True, expected a whole number from 0 up"),
        ("seed", 1.0, "seed is 1.0, expected a whole number from 0 up"),
        ("seed", GONE, "seed is missing, and a run needs it (python -m hear_exp --cfg job shows all options)"),
        ("data.in_memory", "maybe", "data.in_memory is 'maybe', expected true, false or auto"),
        ("data", 3, "data is 3, expected its options, by name"),
        ("search", None, "search is None, expected its options, by name"),
        ("search.workers", 0, "search.workers is 0, expected a number from 1 up, or auto"),
        ("search.workers", "many", "search.workers is 'many', expected a number from 1 up, or auto"),
        ("search.workers", True, "search.workers is True, expected a number from 1 up, or auto"),
        ("search.workers", 1.5, "search.workers is 1.5, expected a number from 1 up, or auto"),
        ("search.threads", 0, "search.threads is 0, expected a number from 1 up"),
        ("search.threads", "auto", "search.threads is 'auto', expected a number from 1 up"),
        (
            "trainer.accelerator",
            "abc",
            "trainer.accelerator is 'abc', expected one of: auto, cpu, gpu, cuda, mps",
        ),
        (
            "trainer.precision",
            "foo",
            "trainer.precision is 'foo', expected one of: 32-true, bf16-mixed, 16-mixed, 64-true",
        ),
        ("trainer.precision", [1], "trainer.precision is [1], expected one of: 32-true, bf16-mixed, 16-mixed, 64-true"),
        ("model", [1], "model is [1], expected its options, by name"),
        ("model.options", [1], "model.options is [1], expected names and values: {name: value}"),
        ("model.options", "abc", "model.options is 'abc', expected names and values: {name: value}"),
        ("task.path", 2024, "task.path is 2024, expected a path (one that reads as a number goes as ./2024)"),
        ("task.demo", "perhaps", "task.demo is 'perhaps', expected true or false"),
        ("task.parts", "one", "task.parts is 'one', expected a list"),
        ("task.predictor_grid", 1, "task.predictor_grid is 1, expected names and values"),
        *(
            (
                "predictor.name",
                none,
                "predictor.name is missing: a predictor config has one, which names it in the results",
            )
            for none in (GONE, None, "")
        ),
        ("protocol", 3, "protocol is 3, expected its options, by name"),
        ("protocol.name", [1], "protocol.name is [1], expected a name"),
        ("protocol.grid_seed", "x", "protocol.grid_seed is 'x', expected a whole number"),
        ("embeddings.name", "foo", "embeddings.name is 'foo', expected one of: compute, heareval"),
        ("embeddings.name", GONE, "embeddings.name is missing, which says what kind it is"),
        ("embeddings.batch_seconds", 0, "embeddings.batch_seconds is 0, expected seconds above 0"),
        (
            "embeddings.batch_seconds",
            GONE,
            "embeddings.batch_seconds is missing, and a run needs it (python -m hear_exp --cfg job shows all options)",
        ),
        ("logger.name", "tensorboard", "logger.name is 'tensorboard', expected one of: wandb, csv, none"),
        ("logger.tags", "abc", "logger.tags is 'abc', expected a list"),
        ("logger.project", None, "logger.project is None, expected a text"),
        ("paths.fits", None, "paths.fits is None, expected a path (one that reads as a number goes as ./2024)"),
    ],
)
def test_sentences(config, option, value, sentence):
    with pytest.raises(UserError) as error:
        read(Settings, changed(config, option, value))
    assert str(error.value) == sentence


def test_a_number_that_python_cannot_write_is_a_sentence(config):
    with pytest.raises(UserError, match=r"^seed is a whole number of 16610 bits, expected a whole number from 0 up$"):
        read(Settings, changed(config, "seed", -(10**5000)))


def test_all_faults_are_said_at_once(config):
    with pytest.raises(UserError) as error:
        read(Settings, changed(changed(config, "seed", -1), "search.threads", 0))
    assert str(error.value) == (
        "seed is -1, expected a whole number from 0 up; search.threads is 0, expected a number from 1 up"
    )


def options_of(config, prefix=""):
    for name, value in config.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from options_of(value, f"{prefix}{name}.")


FULL = {
    **{name: composed(name=name) for name in KINDS},
    "heareval": composed("embeddings=heareval", "logger=csv", "predictor=knn", "protocol=fixed"),
    "published": composed("model=panns", "task=maestro_5h", "logger=none"),
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(GONE),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
@given(data=st.data(), value=VALUES)
@hypothesis_settings(max_examples=400, derandomize=True, deadline=None)
def test_any_value_of_any_option_fits_or_is_a_sentence(name, data, value):
    option = data.draw(st.sampled_from(sorted(options_of(FULL[name]))))
    try:
        read(KINDS.get(name, Settings), changed(FULL[name], option, value))
    except UserError as error:
        sentence = str(error)
    else:
        return
    parent = option.rpartition(".")[0]
    assert sentence.startswith((f"{option} is ", f"{option}.", f"{parent}.", f"unknown option: {option}.")), sentence
