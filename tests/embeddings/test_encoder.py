"""The HEAR API's contract: a sentence for each breach, and what an encoder's identity is made of."""

import hashlib
import importlib
import sys
import textwrap

import numpy as np
import pytest
import torch
from tiny import tiny_encoder

from hear_exp.embeddings.encoder import Encoder, Model, pick_device
from hear_exp.errors import UserError
from hear_exp.files import file_digest

AUDIO = np.random.default_rng(0).normal(0, 0.1, (3, 4000)).astype(np.float32)

GOOD = """
    import torch

    class Net(torch.nn.Module):
        sample_rate = 8000
        scene_embedding_size = 2
        timestamp_embedding_size = 3

    def load_model(model_file_path="", gain=1.0):
        return Net()

    def get_scene_embeddings(audio, model):
        return torch.ones(len(audio), 2)

    def get_timestamp_embeddings(audio, model):
        return torch.ones(len(audio), 4, 3), torch.arange(4.0).expand(len(audio), -1)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module: GOOD with one piece of its text replaced; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(old: str = "", new: str = "", name: str = "written_model") -> str:
        assert old in GOOD
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(GOOD.replace(old, new) if old else GOOD + new))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        names.append(name)
        return name

    # Files are rewritten within a second, which is all that Python's cache of compiled files can tell apart.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    for name in names:
        sys.modules.pop(name, None)


# What works -------------------------------------------------------------------------------------------------


def test_embeds():
    encoder = tiny_encoder()
    assert (encoder.name, encoder.sample_rate, encoder.dim("scene"), encoder.dim("event")) == ("tiny", 8000, 16, 16)
    scene = encoder.scene(AUDIO)
    assert (scene.shape, scene.dtype) == ((3, 16), np.float32)
    embeddings, times = encoder.timestamps(AUDIO)
    assert (embeddings.shape, embeddings.dtype) == ((3, 10, 16), np.float32)
    assert times.dtype == np.float64
    assert times.tolist() == [[25.0 + 50 * i for i in range(10)]] * 3


def test_eval_mode_and_no_gradients(module):
    """The tiny model drops half its numbers in training mode; this one says in which mode it is asked."""
    encoder = tiny_encoder(noise=0.5)
    assert np.array_equal(encoder.scene(AUDIO), encoder.scene(AUDIO))
    name = module(
        "return torch.ones(len(audio), 2)",
        "return torch.tensor([[model.training, torch.is_grad_enabled()]] * len(audio))",
    )
    assert not Encoder(Model("written", name)).scene(AUDIO).any()


def test_embeddings_that_ask_for_gradients(module):
    name = module("torch.ones(len(audio), 2)", "torch.nn.Parameter(torch.ones(len(audio), 2))")
    assert Encoder(Model("written", name)).scene(AUDIO).tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_any_dtype_becomes_float32(module, dtype):
    name = module("torch.ones(len(audio), 2)", f"torch.full((len(audio), 2), 3, dtype=torch.{dtype})")
    scene = Encoder(Model("written", name)).scene(AUDIO)
    assert scene.dtype == np.float32
    assert (scene == 3).all()


# Breaches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("def load_model", "def load", "^model written: module written_model has no function load_model"),
        ("def get_scene_embeddings", "def scene", "has no function get_scene_embeddings"),
        ("def get_timestamp_embeddings", "def times", "has no function get_timestamp_embeddings"),
        (
            "sample_rate = 8000",
            "pass",
            "^model written: the loaded model has no attribute sample_rate, expected a whole number above 0",
        ),
        ("scene_embedding_size = 2", "pass", "has no attribute scene_embedding_size"),
        ("timestamp_embedding_size = 3", "pass", "has no attribute timestamp_embedding_size"),
        ("sample_rate = 8000", "sample_rate = 8000.0", r"has sample_rate = 8000\.0, expected a whole number"),
        ("sample_rate = 8000", "sample_rate = 0", "has sample_rate = 0, expected a whole number above 0"),
        (
            "return Net()",
            "return 5",
            "^model written: load_model returned int, expected a torch.nn.Module or a tf.Module$",
        ),
        (
            "return Net()",
            "raise OSError('no space')",
            r"^model written: written_model\.load_model\(''\) failed: OSError: no space "
            r"\(no weights were given; if it needs some: model\.weights=FILE\)$",
        ),
        ("    import torch\n", "", "^model written: importing written_model failed: NameError: name 'torch'"),
        (
            "import torch",
            "import torch, no_such_package.part",
            "importing written_model failed: it needs the module no_such_package, which is not installed$",
        ),
    ],
)
def test_module_that_does_not_keep_the_contract(module, old, new, sentence):
    with pytest.raises(UserError, match=sentence):
        Encoder(Model("written", module(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "torch.ones(len(audio), 2)",
            "torch.ones(len(audio), 3)",
            r"^model written: get_scene_embeddings returned shape \(3, 3\), "
            r"expected \(clips, scene_embedding_size\) = \(3, 2\)$",
        ),
        ("torch.ones(len(audio), 2)", "torch.ones(2)", r"returned shape \(2,\), expected"),
        ("torch.ones(len(audio), 2)", "[[1.0, 1.0]] * 3", "returned list, expected a torch.Tensor$"),
    ],
)
def test_wrong_scene_embeddings(module, old, new, sentence):
    encoder = Encoder(Model("written", module(old, new)))
    with pytest.raises(UserError, match=sentence):
        encoder.scene(AUDIO)


RETURNED = "torch.ones(len(audio), 4, 3), torch.arange(4.0).expand(len(audio), -1)"


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (
            "torch.ones(len(audio), 4, 3)",
            "^model written: get_timestamp_embeddings returned Tensor, "
            "expected two tensors: embeddings and timestamps$",
        ),
        (
            "torch.ones(3, 4, 2), torch.arange(4.0).expand(3, -1)",
            r"returned embeddings of shape \(3, 4, 2\), "
            r"expected \(clips, frames, timestamp_embedding_size\) = \(3, frames, 3\)$",
        ),
        ("torch.ones(2, 4, 3), torch.arange(4.0).expand(2, -1)", r"embeddings of shape \(2, 4, 3\), expected"),
        ("torch.ones(3, 0, 3), torch.ones(3, 0)", r"embeddings of shape \(3, 0, 3\), expected"),
        (
            "torch.ones(3, 4, 3), torch.arange(4.0)",
            r"returned timestamps of shape \(4,\), expected \(clips, frames\) = \(3, 4\)$",
        ),
        ("torch.ones(3, 4, 3), [0, 1, 2, 3]", "returned list, expected a torch.Tensor$"),
        (
            "torch.ones(3, 4, 3), -torch.arange(4.0).expand(3, -1)",
            r"^model written: timestamps must be finite and increase along a clip \(milliseconds\)$",
        ),
        ("torch.ones(3, 4, 3), torch.ones(3, 4)", "timestamps must be finite and increase"),
        (
            "torch.ones(3, 4, 3), torch.linspace(0, 1e-3 * audio.shape[1] / 8, 4).expand(3, -1)",
            "the last timestamp of a clip of .* ms is .*; expected milliseconds$",
        ),
        ("torch.ones(3, 4, 3), torch.full((3, 4), torch.nan)", "timestamps must be finite and increase"),
    ],
)
def test_wrong_timestamp_embeddings(module, new, sentence):
    encoder = Encoder(Model("written", module(RETURNED, new)))
    with pytest.raises(UserError, match=sentence):
        encoder.timestamps(AUDIO)


@pytest.mark.parametrize("name", ["no_such_model", "no_such_model.inner", "torch.no_such_part"])
def test_module_that_is_not_installed(name):
    with pytest.raises(UserError, match=f"^model m: module {name} is not installed in this Python environment$"):
        Encoder(Model("m", name))


def test_no_module():
    with pytest.raises(UserError, match=r"^model hear: no module given \(model.module=PACKAGE"):
        Encoder(Model("hear", ""))


def test_weights_file_is_missing(tmp_path):
    with pytest.raises(UserError, match=f"^model tiny: weights file not found: {tmp_path}/w.pt$"):
        tiny_encoder(weights=str(tmp_path / "w.pt"))


def test_unknown_option(module):
    with pytest.raises(
        UserError, match=r"^model tiny: unknown option 'layer'; tiny_model.load_model takes: dim, sample_rate, noise$"
    ):
        tiny_encoder(layer=3)
    with pytest.raises(UserError, match=r"unknown option 'layer'; written_model.load_model takes: no options$"):
        Encoder(Model("m", module(", gain=1.0", ""), options={"layer": 3}))


def test_any_option_where_load_model_takes_any(module):
    name = module("gain=1.0", "**options")
    assert Encoder(Model("m", name, options={"layer": 3})).identity["options"] == {"layer": 3}


def test_weights_that_were_not_given(module, tmp_path):
    """load_model asks for a file: the sentence says how to give it, and where it is."""
    name = module("return Net()", "torch.load(model_file_path); return Net()")
    for url, where in (("", ""), ("https://a.org/w.pt", ", its weights are at https://a.org/w.pt")):
        with pytest.raises(UserError) as caught:
            Encoder(Model("m", name, weights_url=url))
        assert str(caught.value).startswith(f"model m: {name}.load_model('') failed: ")
        assert str(caught.value).endswith(f"(no weights were given; if it needs some: model.weights=FILE{where})")
    weights = tmp_path / "w.pt"
    weights.write_text("no weights")
    with pytest.raises(UserError) as caught:
        Encoder(Model("m", name, str(weights), weights_url="https://a.org/w.pt"))
    assert "model.weights" not in str(caught.value)


def test_weights_that_have_no_default_and_were_not_given(module):
    name = module('model_file_path="", gain=1.0):', "model_file_path):\n        open(model_file_path)")
    with pytest.raises(UserError, match=r"FileNotFoundError.*\(no weights were given; .*model\.weights=FILE\)$"):
        Encoder(Model("m", name))


def test_a_models_own_user_error_stays_as_it_is(module):
    name = module("return Net()", "from hear_exp.errors import UserError; raise UserError('say what')")
    with pytest.raises(UserError, match=r"^say what$"):
        Encoder(Model("m", name))


# Identity ---------------------------------------------------------------------------------------------------


def test_identity_is_the_same_again(module):
    name = module()
    first = Encoder(Model("m", name)).identity
    assert Encoder(Model("m", name)).identity == first
    assert Encoder(Model("another name", name)).identity == first
    sys.modules.pop(name)
    assert Encoder(Model("m", name), device="cpu").identity == first


def test_identity_changes_with_options_and_source(module):
    identities = [
        Encoder(Model("m", module())).identity,
        Encoder(Model("m", module(), options={"gain": 2.0})).identity,
        Encoder(Model("m", module("torch.ones(len(audio), 2)", "torch.zeros(len(audio), 2)"))).identity,
        Encoder(Model("m", module("import torch", "import torch\n    __version__ = '1.2'"))).identity,
        Encoder(Model("m", module(name="another_model"))).identity,
    ]
    assert len({str(identity) for identity in identities}) == 5
    assert identities[3]["version"].startswith("1.2+")  # under somebody's hands: the source counts as well


def test_identity_changes_with_any_source_file_of_a_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "written_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "api.py").write_text(textwrap.dedent(GOOD))
    versions = []
    for helper in ("a = 1", "a = 2"):
        (package / "helper.py").write_text(helper)
        versions.append(Encoder(Model("m", "written_package.api")).identity["version"])
    assert versions[0] != versions[1]


def test_identity_of_an_installed_module_is_its_version(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "installed_model.py").write_text(textwrap.dedent(GOOD) + "__version__ = '1.2'\n")
    monkeypatch.syspath_prepend(folder)
    assert Encoder(Model("m", "installed_model")).identity["version"] == "1.2"


def test_identity_of_an_installed_module_whose_distribution_has_another_name(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    info = folder / "hear_thing-3.4.dist-info"
    info.mkdir(parents=True)
    (folder / "thing_model.py").write_text(textwrap.dedent(GOOD))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hear-thing\nVersion: 3.4\n")
    (info / "RECORD").write_text("thing_model.py,,\nhear_thing-3.4.dist-info/METADATA,,\n")
    (info / "top_level.txt").write_text("thing_model\n")  # what Python 3.10 goes by
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    assert Encoder(Model("m", "thing_model")).identity["version"] == "3.4"


def test_identity_changes_with_the_content_of_the_weights_and_not_their_place(tmp_path):
    for name, content in (("a", "1.5"), ("b", "1.5"), ("c", "2.5")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.txt").write_text(content)
    a, b, c = (tiny_encoder(weights=str(tmp_path / name / "w.txt")) for name in "abc")
    assert a.identity == b.identity
    assert a.identity != c.identity
    assert a.identity["weights"] == ["w.txt " + hashlib.sha256(b"1.5").hexdigest()]
    assert not np.array_equal(a.scene(AUDIO), c.scene(AUDIO))  # they are really used


def test_identity_of_a_weights_folder(module, tmp_path):
    weights = tmp_path / "checkpoint" / "inner"
    weights.mkdir(parents=True)
    (weights / "a.bin").write_text("1")
    (weights.parent / "config.json").write_text("{}")
    model = Model("m", module(), str(weights.parent))
    first = Encoder(model).identity
    assert [line.split()[0] for line in first["weights"]] == ["config.json", "a.bin"]
    (weights / "a.bin").write_text("2")
    assert Encoder(model).identity != first


def test_identity_asks_the_module_for_its_weights_files(module, tmp_path):
    """Weights that come with a package, which no path in the config names."""
    weights = tmp_path / "assets.bin"
    weights.write_text("1")
    hook = f"\n    def weights_files(model_file_path='', gain=1.0):\n        return [{str(weights)!r}]\n"
    model = Model("m", module(new=hook))
    first = Encoder(model).identity
    assert first["weights"] == ["assets.bin " + file_digest(weights)]
    weights.write_text("2")
    assert Encoder(model).identity != first


# Device -----------------------------------------------------------------------------------------------------


def test_pick_device(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("cpu") == pick_device("auto") == torch.device("cpu")
    for accelerator in ("gpu", "cuda", "mps", "tpu"):
        with pytest.raises(UserError, match=f"^trainer.accelerator={accelerator}: no such device here"):
            pick_device(accelerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto") == pick_device("gpu") == pick_device("cuda") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("gpu") == pick_device("mps") == torch.device("mps")
