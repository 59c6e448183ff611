"""What decides a model's embeddings beside the audio: its module's version or source, weights, packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UserError
from ..files import check_readable, file_digest, json_digest
from ..versions import installed_version
from .local_modules import Modules, package_root

log = logging.getLogger(__name__)

# A package's folder beyond this is a data store: reading it for every run would take longer than a run.
FILES_LIMIT, BYTES_LIMIT = 10_000, 8 << 30
# Not in the key, since they rarely change an embedding beyond rounding; a difference is told.
_BESIDE = ("torch", "numpy", "soxr", "soundfile")
# Module name -> its spec, which a new import replaces, and its file's digest when it was first seen.
_imported: dict[str, tuple[Any, str]] = {}


def version_of(module: ModuleType, modules: Modules) -> str:
    """The module's own version or its distribution's, and a digest of all that is local.

    What is in site-packages is known by its version, and our own encoders by their ``__version__``; the rest is under
    somebody's hands.
    """
    top = importlib.import_module(module.__name__.partition(".")[0])
    source = Path(getattr(module, "__file__", None) or "")
    version = getattr(module, "__version__", None) or getattr(top, "__version__", None)
    if not version:
        version = _distribution_version(top.__name__, module.__name__ not in modules.local)
    if module.__name__ in modules.own:
        return str(version or "unversioned")
    local = dict(modules.local)
    if not version and source.is_file():
        local[module.__name__] = source
    if not local:
        return str(version or "unversioned")
    return f"{version or 'unversioned'}+{source_digest(local)[:16]}"


def _distribution_version(package: str, installed: bool) -> str | None:
    """Version of the distribution that holds ``package``, whose name may differ: scikit-learn holds sklearn."""
    if (version := installed_version(package)) is not None or not installed:
        return version
    # Looks into every distribution, which takes a while: only where one must be the package's.
    names = importlib.metadata.packages_distributions().get(package)
    return installed_version(names[0]) if names else None


def weights_digests(module: ModuleType, weights: str, options: Mapping[str, Any], name: str) -> list[str]:
    """SHA-256 of every file that decides the embeddings (the module's ``weights_files`` hook, or the weights).

    Raises UserError where one is missing or no file, and where the hook of the model ``name`` fails.
    """
    hook = getattr(module, "weights_files", None)
    if hook is not None:
        try:
            paths = [Path(path) for path in hook(weights, **options)]
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"model {name}: {module.__name__}.weights_files({weights!r}) failed: {type(error).__name__}: {error}"
            ) from error
    elif weights:
        folder = Path(weights)
        paths = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    else:
        paths = []
    for path in paths:
        check_readable(path, "weights", limit=sys.maxsize)
    return [f"{path.name} {file_digest(path)}" for path in paths]


def declared_packages(modules: Modules) -> dict[str, str]:
    """Versions that belong to the key: of the packages in a module's ``PACKAGES``, and of our encoders in a user's."""
    found = {}
    for name in sorted({*modules.local, *modules.own}):
        declared = getattr(sys.modules.get(name), "PACKAGES", ())
        if isinstance(declared, tuple | list):
            found.update({package: package_version(package) for package in declared if isinstance(package, str)})
        if modules.local and name in modules.own and (version := getattr(sys.modules.get(name), "__version__", None)):
            found[name] = str(version)
    return dict(sorted(found.items()))


def package_version(package: str) -> str:
    """The version of an installed package, by its distribution's or its module's name."""
    version = installed_version(package) or getattr(sys.modules.get(package), "__version__", None)
    return version if isinstance(version, str) else "unknown"


def versions_beside(modules: Modules, declared: Mapping[str, str]) -> dict[str, str]:
    """Versions of what a model uses that is not in the key."""
    names = sorted({*_BESIDE, *modules.installed} - set(declared))
    return {name: version for name in names if (version := package_version(name)) != "unknown"}


def remember_imported(modules: Modules) -> None:
    """Take the source of what has just been imported as it is now; the process goes on with it if it is edited."""
    for name, file in modules.local.items():
        _digest_as_imported(name, file)


def edited_since_import(modules: Modules) -> list[Path]:
    """The local files that are not any more as this process imported them."""
    return [
        file for name, file in modules.local.items() if _imported.get(name, (None, ""))[1] not in ("", _digest(file))
    ]


def source_digest(local: Mapping[str, Path]) -> str:
    """Digest of local modules (name -> file): of the whole package that one is in, data files too, else of its file."""
    names = {file: name for name, file in local.items()}
    roots = {package_root(name, file): name.partition(".")[0] for name, file in local.items()}
    contents = []
    for root, top in roots.items():
        for path in [root] if root in names else _package_files(top, root, local):
            label = path.name if path == root else f"{top}/{path.relative_to(root).as_posix()}"
            contents.append([label, _digest_as_imported(names[path], path) if path in names else _digest(path)])
    return json_digest(sorted(contents))


def _package_files(top: str, root: Path, local: Mapping[str, Path]) -> Sequence[Path]:
    """All files of a package; only those of the modules in use where there are too many."""
    files, size = [], 0
    for path, count in _walk(root):
        files.append(path)
        size += count
        if len(files) > FILES_LIMIT or size > BYTES_LIMIT:
            log.warning(
                "the folder of the package %s, %s, holds more than %d files or %.0f GB: of its files only the modules "
                "in use tell whether cached embeddings are still those of this model; name data files that decide them "
                "in a function weights_files",
                *(top, root, FILES_LIMIT, BYTES_LIMIT / 1e9),
            )
            return [file for name, file in local.items() if package_root(name, file) == root]
    return files


def _walk(root: Path) -> Iterator[tuple[Path, int]]:
    """Regular files under a folder with their sizes; hidden ones, compiled ones and linked folders left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or path.suffix in (".pyc", ".pyo"):
                continue
            try:
                status = path.stat()
            except OSError:  # a broken link
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_size


def _digest_as_imported(name: str, file: Path) -> str:
    """Digest of a module's source as it was when this process imported it."""
    now = _digest(file)
    if (module := sys.modules.get(name)) is None:
        return now
    spec, then = _imported.get(name, (None, now))
    if spec is not module.__spec__:
        _imported[name] = module.__spec__, now
        return now
    if then != now:
        log.warning("%s has changed since it was imported; this process goes on with what it imported", file)
    return then


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"
