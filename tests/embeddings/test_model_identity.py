"""What belongs to a model's key: local source and data, weights, declared packages. And what does not."""

import importlib
import importlib.metadata
import os
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from tiny import tiny_encoder

from hear_exp.embeddings import model_identity
from hear_exp.embeddings.encoder import Encoder, Model
from hear_exp.embeddings.local_modules import modules_of
from hear_exp.embeddings.model_identity import declared_packages, source_digest, weights_digests
from hear_exp.errors import UserError

MODEL = """
    import torch
    from {net} import SCALE

    class Net(torch.nn.Module):
        sample_rate = 8000
        scene_embedding_size = timestamp_embedding_size = 2

    def load_model(model_file_path=""):
        return Net()

    def get_scene_embeddings(audio, model):
        return torch.full((len(audio), 2), SCALE)

    def get_timestamp_embeddings(audio, model):
        return torch.full((len(audio), 4, 2), SCALE), torch.arange(4.0).expand(len(audio), -1)
"""


@pytest.fixture
def forget(tmp_path, monkeypatch):
    """forget(): what was imported from tmp_path is not imported, as in a new process."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forgotten() -> None:
        importlib.invalidate_caches()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]

    yield forgotten
    forgotten()


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def test_a_module_beside_a_one_file_model(tmp_path, forget):
    write(tmp_path / "ii_model.py", MODEL.format(net="ii_net"))
    identities = []
    for scale in ("1.0", "2.0", "1.0"):
        write(tmp_path / "ii_net.py", f"SCALE = {scale}")
        forget()
        identities.append(Encoder(Model("m", "ii_model")).identity)
        assert Encoder(Model("m", "ii_model")).identity == identities[-1]
    assert identities[0] != identities[1]
    assert identities[0] == identities[2]


@pytest.mark.parametrize("name", ["filters.npy", "assets/deep/labels.csv", "train.py", "kernel.so"])
def test_any_file_of_a_models_package(tmp_path, forget, name):
    write(tmp_path / "ii_pkg" / "__init__.py")
    write(tmp_path / "ii_pkg" / "net.py", "SCALE = 1.0")
    write(tmp_path / "ii_pkg" / "api.py", MODEL.format(net="ii_pkg.net"))
    versions = []
    for content in ("a", "b"):
        write(tmp_path / "ii_pkg" / name, f"# {content}")
        versions.append(Encoder(Model("m", "ii_pkg.api")).identity["version"])
    assert versions[0] != versions[1]


@pytest.mark.parametrize(
    "name", ["__pycache__/x.data", "x.pyc", ".git/HEAD", ".idea/x", "sub/.cache", "sub/__pycache__/y"]
)
def test_what_tools_leave_in_a_package(tmp_path, forget, name):
    write(tmp_path / "ii_pkg" / "__init__.py")
    local = modules_of(importlib.import_module("ii_pkg")).local
    before = source_digest(local)
    write(tmp_path / "ii_pkg" / name, "x")
    assert source_digest(local) == before


def test_a_folder_without_init_is_a_package_too(tmp_path, forget):
    write(tmp_path / "ii_space" / "api.py")
    write(tmp_path / "ii_space" / "table.csv", "1")
    local = modules_of(importlib.import_module("ii_space.api")).local
    before = source_digest(local)
    write(tmp_path / "ii_space" / "table.csv", "2")
    assert source_digest(local) != before


def test_where_a_package_lies_does_not_matter_but_its_files_names_do(tmp_path, forget, monkeypatch):
    write(tmp_path / "ii_pkg" / "__init__.py")
    write(tmp_path / "ii_pkg" / "a.txt", "x")
    before = source_digest(modules_of(importlib.import_module("ii_pkg")).local)
    (tmp_path / "else").mkdir()
    shutil.move(tmp_path / "ii_pkg", tmp_path / "else" / "ii_pkg")
    monkeypatch.syspath_prepend(tmp_path / "else")
    forget()
    assert source_digest(modules_of(importlib.import_module("ii_pkg")).local) == before
    (tmp_path / "else" / "ii_pkg" / "a.txt").rename(tmp_path / "else" / "ii_pkg" / "b.txt")
    assert source_digest(modules_of(importlib.import_module("ii_pkg")).local) != before


@pytest.mark.parametrize(("limit", "value"), [("FILES_LIMIT", 3), ("BYTES_LIMIT", 1000)])
def test_a_huge_folder_counts_by_its_modules_in_use(tmp_path, forget, monkeypatch, caplog, limit, value):
    monkeypatch.setattr(model_identity, limit, value)
    write(tmp_path / "ii_pkg" / "__init__.py", "from . import net")
    write(tmp_path / "ii_pkg" / "net.py", "x = 1")
    for i in range(4):
        write(tmp_path / "ii_pkg" / "data" / f"{i}.txt", "x" * 300)

    def digest() -> str:
        forget()
        return source_digest(modules_of(importlib.import_module("ii_pkg")).local)

    before = digest()
    assert f"the folder of the package ii_pkg, {tmp_path / 'ii_pkg'}, holds more than" in caplog.text
    assert "in a function weights_files" in caplog.text
    write(tmp_path / "ii_pkg" / "data" / "0.txt", "y" * 300)
    assert digest() == before
    write(tmp_path / "ii_pkg" / "net.py", "x = 2")
    assert digest() != before


def test_source_that_is_edited_while_the_process_runs(tmp_path, forget, caplog):
    """It goes on with what it imported, so its embeddings must not be filed under the new source."""
    write(tmp_path / "ii_model.py", MODEL.format(net="ii_net"))
    write(tmp_path / "ii_net.py", "SCALE = 1.0")
    before = Encoder(Model("m", "ii_model")).identity
    write(tmp_path / "ii_net.py", "SCALE = 2.0")
    assert Encoder(Model("m", "ii_model")).identity == before
    assert f"{tmp_path / 'ii_net.py'} has changed since it was imported" in caplog.text
    forget()
    assert Encoder(Model("m", "ii_model")).identity != before


# Weights ----------------------------------------------------------------------------------------------------


def test_pipes_are_refused_or_left_out(tmp_path, forget):
    """Opening one would wait without end for somebody who writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=f"cannot read {tmp_path}/pipe: it is not a regular file"):
        tiny_encoder(weights=str(tmp_path / "pipe"))
    write(tmp_path / "ii_pkg" / "__init__.py")
    os.mkfifo(tmp_path / "ii_pkg" / "pipe")
    module = importlib.import_module("ii_pkg")
    assert source_digest(modules_of(module).local)
    folder = write(tmp_path / "weights" / "w.bin", "1").parent
    os.mkfifo(folder / "pipe")
    assert [line.split()[0] for line in weights_digests(module, str(folder), {}, "m")] == ["w.bin"]
    module.weights_files = lambda path: [tmp_path / "pipe"]
    with pytest.raises(UserError, match="it is not a regular file"):
        weights_digests(module, "", {}, "m")


def test_the_hook_for_weights_fails(tmp_path, forget):
    write(tmp_path / "ii_pkg" / "__init__.py")
    module = importlib.import_module("ii_pkg")
    module.weights_files = lambda path: [tmp_path / "absent"]
    with pytest.raises(UserError, match=rf"^file not found: {tmp_path}/absent \(weights\)$"):
        weights_digests(module, "", {}, "m")
    module.weights_files = lambda path: 1 / 0
    with pytest.raises(UserError, match=r"^model m: ii_pkg.weights_files\(''\) failed: ZeroDivisionError: division"):
        weights_digests(module, "", {}, "m")


# Packages ---------------------------------------------------------------------------------------------------


def test_a_declared_package_counts_by_its_version(tmp_path, forget, monkeypatch):
    write(tmp_path / "ii_net.py", "SCALE = 1.0")
    write(tmp_path / "ii_model.py", MODEL.format(net="ii_net") + "\n    PACKAGES = ('some-package',)\n")
    version, found = importlib.metadata.version, "1.0"
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found if name == "some-package" else version(name))
    before = Encoder(Model("m", "ii_model"))
    assert before.identity["packages"] == {"some-package": "1.0"}
    assert "some-package" not in before.versions
    found = "2.0"
    assert Encoder(Model("m", "ii_model")).identity != before.identity


def test_a_model_of_somebody_around_one_of_ours(tmp_path, forget):
    pytest.importorskip("transformers")
    write(tmp_path / "ii_model.py", "from hear_exp.models.hf_audio import load_model")
    declared = declared_packages(modules_of(importlib.import_module("ii_model")))
    assert declared["hear_exp.models.hf_audio"] == "2"
    assert declared["transformers"] == importlib.metadata.version("transformers")


def test_other_packages_are_kept_beside_the_key():
    encoder = tiny_encoder()
    assert {"torch", "numpy", "soxr", "soundfile"} <= set(encoder.versions)
    assert encoder.versions["torch"] == importlib.metadata.version("torch")
    assert "packages" not in encoder.identity


def test_our_encoders_of_transformers_depend_on_its_version():
    pytest.importorskip("transformers")
    declared = declared_packages(modules_of(importlib.import_module("hear_exp.models.hf_audio")))
    assert declared == {"transformers": importlib.metadata.version("transformers")}
