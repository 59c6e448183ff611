"""Which modules a model brings in: the local ones, whose source is under somebody's hands, and the installed ones.

Looked for in the source (import statements, also those in functions) rather than in what an import has just loaded:
a second load in one process imports nothing any more, and must find the same. Imports by a computed name are noted
when they happen, with the module that asks; and the classes that a loaded model is made of name their modules.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_OWN = __name__.partition(".")[0]
_INSTALLED = ("site-packages", "dist-packages")
# Importing module -> names of modules whose import it has caused in this process.
_caused: dict[str, set[str]] = {}


@dataclass(frozen=True)
class Modules:
    """What a model's module refers to, itself included.

    ``local``: name -> file of what is neither installed nor Python's; ``own``: names of our encoders' modules;
    ``installed``: names of installed packages.
    """

    local: dict[str, Path] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)


class _Watch(importlib.abc.MetaPathFinder):
    """Finds nothing; notes which module asks for a module that has not been imported yet."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        frame = sys._getframe(1)
        while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in (
            "importlib",
            "_frozen_importlib",
        ):
            frame = frame.f_back
        _caused.setdefault(str(frame.f_globals.get("__name__")), set()).add(fullname)


@contextmanager
def watching_imports() -> Iterator[None]:
    """Note who imports what in the block, for ``modules_of``."""
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        sys.meta_path.remove(watch)


def modules_of(module: ModuleType, parts: Iterable[object] = ()) -> Modules:
    """The modules that ``module`` refers to, and those that they do; ``parts``: what a loaded model consists of."""
    found = Modules()
    waiting = [module.__name__, *(name for part in parts for name in _classes_modules(part))]
    seen = {_OWN, "__main__", ""}
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in seen or top in sys.stdlib_module_names or top in found.installed:
            continue
        seen.add(name)
        waiting.append(name.rpartition(".")[0])
        if top == _OWN and not name.startswith(f"{_OWN}.models."):
            continue
        if (file := _file_of(name)) is None:
            continue
        if top == _OWN:
            found.own.add(name)
        elif not _is_installed(package_root(name, file)):
            found.local[name] = file
        elif name != module.__name__:
            found.installed.add(top)
            continue
        waiting += _references(name, file)
    return found


def package_root(name: str, file: Path) -> Path:
    """The folder of the top-level package that holds the module ``name``; the module's file where it is in none."""
    depth = name.count(".") + (file.stem == "__init__")
    return file.parents[depth - 1] if depth else file


@cache
def _is_installed(root: Path) -> bool:
    """Whether a top-level package or module is an installed distribution's or Python's."""
    if any(part in _INSTALLED for part in root.parts):
        return True
    if {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")} & set(root.parents):
        return True
    # A folder that pip --target filled. An editable install has this beside other packages, not beside its source.
    return any(root.parent.glob("*.dist-info"))


def _file_of(name: str) -> Path | None:
    """The file of a module, imported or not; None: built in, a namespace, or no module at all."""
    if (module := sys.modules.get(name)) is not None:
        file = getattr(module, "__file__", None)
        return Path(file) if isinstance(file, str) and Path(file).exists() else None
    spec = _spec(name)
    if spec is None or not spec.has_location or not spec.origin or not Path(spec.origin).exists():
        return None
    return Path(spec.origin)


def _spec(name: str) -> Any:
    """The spec of a module that has not been imported, without importing its parents as importlib.util does."""
    parent = name.rpartition(".")[0]
    path = None
    if parent:
        holder = sys.modules.get(parent)
        path = (
            getattr(holder, "__path__", None) if holder else getattr(_spec(parent), "submodule_search_locations", None)
        )
        if path is None:
            return None
    for finder in sys.meta_path:
        try:
            if (spec := finder.find_spec(name, path, None)) is not None:
                return spec
        except Exception:  # another package's finder, with whatever it raises for a name that is no module
            continue
    return None


def _references(name: str, file: Path) -> list[str]:
    """Names that may be modules and that the module refers to, by its source, its content or what it has imported."""
    names = sorted(_caused.get(name, ()))
    if file.suffix == ".py":
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError, RecursionError):
            tree = ast.Module([], [])
        for node in ast.walk(tree):
            names += _imports(node, package)
    for value in list(getattr(sys.modules.get(name), "__dict__", {}).values()):
        names += [value.__name__] if isinstance(value, ModuleType) else _classes_modules(value, attributes=False)
    return names


def _imports(node: ast.AST, package: str) -> list[str]:
    """Names that an import statement, or a call of import_module with a constant, may import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]  # parts of it, or names in it
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            return [_absolute(node.args[0].value, package)]
    return []


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package or None)
    except (ImportError, ValueError):  # beyond the top-level package
        return ""


def _classes_modules(value: object, attributes: bool = True) -> list[str]:
    """The modules of a value's classes and, with ``attributes``, of its attributes' classes."""
    values = [value, *(getattr(value, "__dict__", {}).values() if attributes else ())]
    owners: list[object] = [kind for v in values for kind in (v if isinstance(v, type) else type(v)).__mro__]
    owners += [v for v in values if isinstance(v, FunctionType)]
    return [name for owner in owners if isinstance(name := getattr(owner, "__module__", None), str)]
