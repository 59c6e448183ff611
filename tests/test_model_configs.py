"""Every file of conf/model composes; those of the published leaderboard say how to install what they name."""

import ast
import csv
import importlib
import importlib.util
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hear_exp.cli import edge as cli
from hear_exp.cli import resolvers
from hear_exp.embeddings.encoder import Encoder, import_module
from hear_exp.embeddings.model_choice import describe_model
from hear_exp.errors import UserError

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (PROJECT / "conf" / "model").glob("*.yaml"))
LISTED = [name for name in NAMES if "leaderboard" in OmegaConf.load(PROJECT / "conf" / "model" / f"{name}.yaml")]
ANY_CHECKPOINT = ("hf_audio", "hf_waveform")  # the bases of those that name one
OURS = sorted(set(NAMES) - set(LISTED) - {"hear", *ANY_CHECKPOINT})


@pytest.fixture
def config_of():
    """config_of("crepe"): the config that model=crepe composes to, as plain values."""

    def composed(name: str, *overrides: str) -> dict:
        resolvers.register()
        with initialize_config_dir(version_base="1.3", config_dir=str(cli.conf_dir())):
            return OmegaConf.to_container(compose("config", [f"model={name}", *overrides]), resolve=True)

    return composed


def test_the_published_models_are_all_here():
    # hear_models.json of the benchmark's submissions, without the five newer rows, which are no HEAR modules.
    assert len(LISTED) == 29
    assert {"crepe", "logmel", "naive", "wav2vec2", "hubert", "wavlm", "data2vec", "whisper", "ast"} == set(OURS)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(ANY_CHECKPOINT)))
def test_composes(config_of, name):
    model = describe_model(config_of(name)["model"])
    assert model.name == ("hear" if name == "hear" else name)
    assert name == "hear" or model.module


@pytest.mark.parametrize("name", OURS)
def test_ours_can_be_imported_and_take_their_options(config_of, name):
    from hear_exp.embeddings.encoder import check_functions

    model = describe_model(config_of(name)["model"])
    assert model.module.startswith("hear_exp.models.")
    check_functions(import_module(model), model)


@pytest.mark.parametrize("name", ["crepe", "logmel", "naive"])
def test_options_of_load_model_can_be_given(config_of, name):
    assert describe_model(config_of(name, "model.options={hop_ms: 25}")["model"]).options == {"hop_ms": 25}


CHECKPOINTS = {
    "wav2vec2": {"checkpoint": "facebook/wav2vec2-large-100k-voxpopuli", "context_seconds": 5, "chunk_seconds": 120},
    "hubert": {"checkpoint": "facebook/hubert-base-ls960", "context_seconds": 5, "chunk_seconds": 30},
    "wavlm": {"checkpoint": "microsoft/wavlm-base-plus", "context_seconds": 5, "chunk_seconds": 30},
    "data2vec": {"checkpoint": "facebook/data2vec-audio-base", "context_seconds": 5, "chunk_seconds": 30},
    "whisper": {"checkpoint": "openai/whisper-base", "context_seconds": 5},
    "ast": {"checkpoint": "MIT/ast-finetuned-audioset-10-10-0.4593", "context_seconds": 1},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_transformers_are_one_module_with_these_options(config_of, name):
    """The options are in the key of cached embeddings: another default embeds everybody's clips anew."""
    model = describe_model(config_of(name)["model"])
    assert model.module == "hear_exp.models.hf_audio"
    assert model.options == {"layer": None, "revision": None, **CHECKPOINTS[name]}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_no_option_of_a_checkpoint_is_without_effect(config_of, name):
    entry = config_of(name)["model"]
    assert set(entry) == {"name", "module", "weights", "options", *entry["options"]}
    values = {"checkpoint": "some/other", "layer": 3, "revision": "v1", "context_seconds": 2, "chunk_seconds": 20}
    values = {option: values[option] for option in entry["options"]}
    changed = config_of(name, *(f"model.{option}={value}" for option, value in values.items()))
    assert describe_model(changed["model"]).options == values


@pytest.mark.parametrize("name", ANY_CHECKPOINT)
def test_any_checkpoint_is_named_by_its_last_part(compose, name):
    model = describe_model(compose(f"model={name}", "model.checkpoint=some/model-of-theirs")[0]["model"])
    assert (model.name, model.options["checkpoint"]) == ("model-of-theirs", "some/model-of-theirs")
    assert ("chunk_seconds" in model.options) == (name == "hf_waveform")


@pytest.mark.parametrize("name", [(), ("model.name=mine",)])
def test_any_checkpoint_wants_one(compose, capsys, tmp_path, name):
    with pytest.raises(SystemExit):
        compose("model=hf_audio", *name)
    assert capsys.readouterr().err == (
        "hear_exp: model.checkpoint has no value here: give it one, model.checkpoint=VALUE\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_ones_own_is_a_file_of_three_lines(compose, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    lines = ("defaults: [hf_waveform, _self_]", "name: large", "checkpoint: some/model-large")
    (tmp_path / "mine" / "model" / "large.yaml").write_text("\n".join(lines))
    model = describe_model(compose("--config-dir", str(tmp_path / "mine"), "model=large", "model.layer=9")[0]["model"])
    assert (model.name, model.module) == ("large", "hear_exp.models.hf_audio")
    assert model.options == {**CHECKPOINTS["wavlm"], "checkpoint": "some/model-large", "layer": 9, "revision": None}


def test_wav2vec2_embeds_hears_longest_clips_whole(config_of, tmp_path):
    pytest.importorskip("transformers")
    from tiny_checkpoint import save

    from hear_exp.models import hf_audio

    config = config_of("wav2vec2", f"model.checkpoint={save(tmp_path)}")
    model = hf_audio.load_model(**describe_model(config["model"]).options)
    assert model.frame_count(120 * 16000) <= model.window == 6000


@pytest.mark.parametrize("name", LISTED)
def test_published_model_says_how_to_install_it(config_of, name):
    config = config_of(name)
    entry = config["model"]
    assert {"name", "module", "weights", "options", "leaderboard", "install", "weights_url"} <= set(entry)
    assert {"code_license", "data_license"} <= set(entry)
    rows = (PROJECT / "src" / "hear_exp" / "data" / "leaderboard.csv").read_text().splitlines()
    assert entry["leaderboard"] in {row["model"] for row in csv.DictReader(r for r in rows if not r.startswith("#"))}
    assert entry["install"].startswith("pip install ")
    if _installed(entry["module"]):
        pytest.skip(f"{entry['module']} is installed here")
    with pytest.raises(UserError) as caught:
        Encoder(describe_model(entry))
    sentence = str(caught.value)
    assert sentence.startswith(
        f"model {name}: module {entry['module']} is not installed in this Python environment; "
        f"install it with: {entry['install']}"
    )
    assert "\n" not in sentence
    assert (f"(its weights, for model.weights=FILE: {entry['weights_url']})" in sentence) == bool(entry["weights_url"])


def test_an_installed_module_that_fails_without_weights_names_them(tmp_path, monkeypatch):
    from hear_exp.embeddings.encoder import Model

    (tmp_path / "needs_weights.py").write_text(
        "def load_model(path):\n    return open(path)\nget_scene_embeddings = get_timestamp_embeddings = load_model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        UserError, match=r"FileNotFoundError: .*model\.weights=FILE, its weights are at https://host/w\.pt\)$"
    ):
        Encoder(Model("m", "needs_weights", weights_url="https://host/w.pt"))


def test_a_default_weights_path_of_the_module_is_used(tmp_path, monkeypatch):
    """load_model(""), instead of load_model(), would take the default of modules such as PaSST's away."""
    from hear_exp.embeddings.encoder import Model

    (tmp_path / "has_default.py").write_text(
        "def load_model(model_path='default.pt'):\n    raise OSError(model_path)\n"
        "get_scene_embeddings = get_timestamp_embeddings = load_model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"OSError: default\.pt \(no weights were given; "):
        Encoder(Model("m", "has_default"))


def test_nothing_of_ours_imports_them():
    theirs = {
        OmegaConf.load(PROJECT / "conf" / "model" / f"{name}.yaml")["module"].partition(".")[0] for name in LISTED
    }
    for path in (PROJECT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name.partition(".")[0] for name in names} & {*theirs, "tensorflow"}, path


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
