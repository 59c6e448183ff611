"""Which modules a model brings in, by whatever way it imports them, in a first and a second load."""

import importlib
import subprocess
import sys
import textwrap

import pytest

from hear_exp.embeddings.local_modules import modules_of, watching_imports


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write("pkg/net.py", text): a file beside the model's; what was imported from there is forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(name: str, text: str = "") -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    yield written
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def imported(name: str):
    with watching_imports():
        return importlib.import_module(name)


def local(name: str) -> set[str]:
    return set(modules_of(imported(name)).local)


WAYS = {
    "import": "import mm_net",
    "from": "from mm_net import weights",
    "star": "from mm_net import *",
    "in a function": "def load_model():\n    from mm_net import weights",
    "in a method": "class A:\n    def b(self):\n        import mm_net as net",
    "where it may be absent": "try:\n    import mm_net\nexcept ImportError:\n    pass",
    "by name": "import importlib\nnet = importlib.import_module('mm_net')",
    "by name, later": "from importlib import import_module\ndef load_model():\n    return import_module('mm_net')",
    "by the old function": "net = __import__('mm_net')",
    "by a computed name": "import importlib\nimportlib.import_module('_'.join(['mm', 'net'])).weights()",
    "through another": "import mm_other",
    "a value": "import mm_other\nnet = mm_other.net\ndel mm_other",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_import(write, way):
    write("mm_net.py", "def weights(): return 1")
    write("mm_other.py", "import mm_net as net")
    write("mm_model.py", WAYS[way])
    first = local("mm_model")
    assert {"mm_model", "mm_net"} <= first
    assert local("mm_model") == first  # the second load of a process imports nothing any more


def test_every_module_of_the_chain_and_each_package_on_the_way(write):
    write("mm_model.py", "from mm_pkg.inner import api")
    write("mm_pkg/__init__.py")
    write("mm_pkg/inner/__init__.py", "from . import config")
    write("mm_pkg/inner/config.py", "from ..top import value")
    write("mm_pkg/inner/api.py", "from .deep.nets import Net")
    write("mm_pkg/inner/deep/nets.py", "class Net: pass")  # deep/ is a namespace
    write("mm_pkg/top.py", "import mm_model; value = 1")  # a circle
    write("mm_pkg/train.py")  # nobody imports it
    assert local("mm_model") == {
        "mm_model",
        "mm_pkg",
        "mm_pkg.inner",
        "mm_pkg.inner.config",
        "mm_pkg.inner.api",
        "mm_pkg.inner.deep.nets",
        "mm_pkg.top",
    }


def test_two_models_of_one_process_that_share_a_helper(write):
    """When the second is imported, its helper has been there for long."""
    write("mm_net.py", "import mm_deep")
    write("mm_deep.py")
    write("mm_model_a.py", "import mm_net")
    write("mm_model_b.py", "import mm_net")
    assert local("mm_model_a") == {"mm_model_a", "mm_net", "mm_deep"}
    assert local("mm_model_b") == {"mm_model_b", "mm_net", "mm_deep"}


def test_the_classes_of_a_loaded_model(write):
    """Built by a module that the model's own names nowhere."""
    write("mm_part.py", "class Part: pass")
    write("mm_base.py", "class Base: pass")
    write("mm_net.py", "from mm_base import Base\nclass Net(Base): pass")
    write("mm_model.py")
    net = importlib.import_module("mm_net").Net()
    net.part = importlib.import_module("mm_part").Part()
    assert set(modules_of(imported("mm_model"), [net]).local) == {"mm_model", "mm_net", "mm_base", "mm_part"}


def test_installed_packages_are_known_by_name(write, monkeypatch, tmp_path):
    write("mm_model.py", "import json, os.path, numpy, mm_installed, mm_target.part")
    write("site-packages/mm_installed/__init__.py", "import mm_hidden")
    write("mm_hidden.py")
    write("target/mm_target/__init__.py")
    write("target/mm_target/part.py")
    write("target/mm_target-1.0.dist-info/METADATA", "Name: mm-target\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path / "target")  # pip install --target
    modules = modules_of(imported("mm_model"))
    assert set(modules.local) == {"mm_model"}
    assert modules.installed == {"numpy", "mm_installed", "mm_target"}


def test_an_installed_model_may_import_what_is_local(write, monkeypatch, tmp_path):
    write("site-packages/mm_model.py", "import mm_net")
    write("mm_net.py")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    modules = modules_of(imported("mm_model"))
    assert (set(modules.local), modules.installed) == ({"mm_net"}, set())


def test_hear_exp_is_not_a_models_own_code(write):
    write(
        "mm_model.py", "from hear_exp.errors import UserError\nfrom hear_exp.models.naive import get_scene_embeddings"
    )
    modules = modules_of(imported("mm_model"))
    assert set(modules.local) == {"mm_model"}
    assert "hear_exp.models.naive" in modules.own
    assert all(name.startswith("hear_exp.models.") for name in modules.own)


def test_code_that_cannot_be_read_has_no_references(write):
    write("mm_model.py", "def load_model():\n    import mm_broken\n    from ....above import x\n    import mm_nowhere")
    write("mm_broken.py", "def (:")
    assert local("mm_model") == {"mm_model", "mm_broken"}


def test_another_process_finds_the_same(write, tmp_path):
    write("mm_pkg/__init__.py")
    write("mm_pkg/api.py", "import mm_net\nimport json")
    write("mm_net.py", "def later():\n    import mm_later")
    write("mm_later.py")
    script = "import importlib, sys; from hear_exp.embeddings.local_modules import *;"
    script += "from hear_exp.embeddings.model_identity import *;"
    script += "m = modules_of(importlib.import_module('mm_pkg.api')); print(sorted(m.local), source_digest(m.local))"
    environment = {"PYTHONPATH": f"{tmp_path}:" + ":".join(path for path in sys.path if path)}
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    from hear_exp.embeddings.model_identity import source_digest

    imported("mm_later")
    modules = modules_of(imported("mm_pkg.api"))
    assert process.stdout.strip() == f"{sorted(modules.local)} {source_digest(modules.local)}"
    assert set(modules.local) == {"mm_pkg", "mm_pkg.api", "mm_net", "mm_later"}
