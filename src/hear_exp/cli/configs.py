"""The config files that are shipped: where they are, what is in them, and what a mistyped option may have meant."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import OmegaConf


def conf_dir() -> Path:
    """The folder of configs: inside the package in a wheel, beside src/ in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


def names_in(group: str) -> list[str]:
    """Names of the shipped files of a config group, as GROUP=NAME takes them."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@functools.lru_cache(maxsize=256)
def shipped(group: str, name: str) -> Mapping[str, Any]:
    """A shipped file of a config group, its defaults list applied by Hydra; empty where there is none of that name.

    Interpolations are left as they stand.
    """
    path = conf_dir() / group / f"{name}.yaml"
    if not path.is_file():
        return MappingProxyType({})
    content = read_config(path)
    if "defaults" in content:  # Hydra takes a tenth of a second over it
        version.setbase("1.3")
        loader = ConfigLoaderImpl(create_config_search_path(str(conf_dir())))
        composed = loader.load_configuration(f"{group}/{name}", overrides=[], run_mode=RunMode.RUN)
        content = _plain(composed[group])
    return MappingProxyType(content)


def default_groups() -> dict[str, str]:
    """The files that config.yaml takes of each group: {'model': 'logmel'}."""
    usual: dict[str, Any] = {}
    for default in read_config(conf_dir() / "config.yaml")["defaults"]:
        usual |= default if isinstance(default, dict) else {}
    return usual


def near(option: str) -> str:
    """', did you mean X?' for an option close to an existing one."""
    group, _, name = option.rpartition(".")
    config = read_config(conf_dir() / "config.yaml")
    known = {str(key) for key in config} | {path.name for path in conf_dir().iterdir() if path.is_dir()}
    if group:
        contents = [read_config(file) for file in (conf_dir() / group).glob("*.yaml")]
        known = set(config.get(group) or {key for content in contents for key in content.get(group, content)})
    close = difflib.get_close_matches(name, sorted(known - {"defaults", name}), n=1)
    return f", did you mean {group + '.' if group else ''}{close[0]}?" if close else ""


def read_config(path: Path) -> dict[str, Any]:
    """A config file as it stands, nothing merged and nothing resolved."""
    return _plain(OmegaConf.load(path))


def _plain(config: Any) -> dict[str, Any]:
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
