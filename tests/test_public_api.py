"""The package uses what libraries document: no private module, name or attribute of another's."""

import ast
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

import hear_exp
from hear_exp.cli.configs import conf_dir
from hydra_plugins import hear_exp as plugins  # an attribute of hydra_plugins only where Hydra did not load it first

SOURCE = Path(hear_exp.__file__).parent
PLUGINS = Path(plugins.__file__).parent
DOCUMENTED = {"os._exit", "sys._getframe", "_typeshed.DataclassInstance"}  # despite their names
DOCUMENTED_OF_ANY = {"_replace", "_asdict", "_fields", "_make", "_field_defaults", "_target_"}  # named tuples, Hydra


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name != "_"


def own_names(tree: ast.AST) -> set[str]:
    """Private names that a file itself gives to something: functions, classes, variables, attributes, fields."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def private_uses(text: str, inherited: Set[str] = frozenset()) -> Iterator[str]:
    """Private names of others that a file's ``text`` imports or reads; ``inherited``: what ``self`` has from ours."""
    tree = ast.parse(text)
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if any(map(is_private, alias.name.split("."))))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in names if name not in DOCUMENTED]
            yield from (name for name in names if any(map(is_private, name.split("."))))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            name = ast.unparse(node)
            ours = own | inherited if name in (f"self.{node.attr}", f"cls.{node.attr}") else own
            if node.attr not in ours and node.attr not in DOCUMENTED_OF_ANY and name not in DOCUMENTED:
                yield name
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield ast.unparse(node)


@pytest.mark.slow
def test_no_private_name_of_a_library():
    files = sorted([*SOURCE.rglob("*.py"), *PLUGINS.rglob("*.py")])
    assert len(files) > 50
    texts = {str(path.relative_to(SOURCE.parent)): path.read_text(encoding="utf-8") for path in files}
    ours = set().union(*(own_names(ast.parse(text)) for text in texts.values()))
    used = {path: list(private_uses(text, ours)) for path, text in texts.items()}
    assert {path: names for path, names in used.items() if names} == {}


def test_no_config_names_a_private_module():
    files = sorted(conf_dir().rglob("*.yaml"))
    assert files
    texts = {str(path): path.read_text(encoding="utf-8").replace("._target_", "") for path in files}
    assert [path for path, text in texts.items() if "._" in text] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from hydra._internal.utils import get_args_parser", ["hydra._internal.utils.get_args_parser"]),
        ("import hydra._internal.utils as u", ["hydra._internal.utils"]),
        ("from omegaconf import _utils", ["omegaconf._utils"]),
        ("pool._processes.clear()", ["pool._processes"]),
        ("class Pool(Executor):\n    def f(self):\n        return self._processes", ["self._processes"]),
        ("getattr(loader, '_parse')(1)", ["getattr(loader, '_parse')"]),
        (
            "class A:\n    def __init__(self):\n        self._x = 1\n    def f(self, other):\n        return other._x",
            [],
        ),
        ("from __future__ import annotations\nfrom ._own import _thing", []),
        ("import os, sys\nos._exit(1)\nsys._getframe()\npoint._replace(x=1)\nx.__class__.__name__", []),
    ],
)
def test_what_counts_as_private(text, found):
    assert list(private_uses(text)) == found
