"""The config files that are shipped: where they are, what is in them, and what a mistyped option may have meant."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def conf_dir() -> Path:
    """The folder of configs: inside the package in a wheel, beside src/ in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


def names_in(group: str) -> list[str]:
    """Names of the shipped files of a config group, as GROUP=NAME takes them."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@functools.lru_cache(maxsize=1)
def task_configs() -> Mapping[str, Mapping[str, Any]]:
    """The shipped files of tasks by name, interpolations left as they stand; they have no defaults lists."""
    return {name: read_config(conf_dir() / "task" / f"{name}.yaml") for name in names_in("task")}


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
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
