"""Composing with Hydra beside the job that runs: that job again with a task's settings, or a file as it is shipped."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from .configs import conf_dir, read_config

TASK_SETTINGS = "task_settings"  # the entry of config.yaml's defaults list: its place there decides what wins
_OF_THE_TASK = "of_the_task"  # the one file of that group, which exists in Hydra's ConfigStore only


@dataclass(frozen=True, eq=False)
class Composition:
    """How a config was composed, so that it can be composed again.

    ``hydra``: the Hydra that did it, as GlobalHydra holds it: it knows the folders that are searched for config files.
    ``composed``: its config, whose resolved ``now`` and ``run_id`` hold for the second composition as well.
    ``has_place``: whether TASK_SETTINGS stands in its defaults list.
    """

    hydra: Any
    config_name: str
    overrides: tuple[str, ...]
    composed: DictConfig
    has_place: bool

    def with_task_settings(self, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The groups of ``settings`` (group -> option -> value) composed anew, resolved, with the settings among them.

        They win over the group's own file, and lose against whatever the defaults list has below TASK_SETTINGS (an
        experiment, a config of the user's that starts from ours) and against what was typed.

        Raises UserError where the defaults list, a user's own, has no such place.
        """
        if not self.has_place:
            raise UserError(
                f"the task has settings of its own ({_described(settings)}), and the defaults list of "
                f"{self.config_name}.yaml no place for them: add '- {TASK_SETTINGS}: null' to it, after predictor and "
                "protocol and before what is to win over the task"
            )
        ConfigStore.instance().store(_OF_THE_TASK, node=settings, group=TASK_SETTINGS, package="_global_")
        again = _compose(self.hydra, self.config_name, [*self.overrides, f"{TASK_SETTINGS}={_OF_THE_TASK}"])
        OmegaConf.copy_cache(from_config=self.composed, to_config=again)
        return {group: OmegaConf.to_container(again[group], resolve=True, throw_on_missing=True) for group in settings}


@functools.lru_cache(maxsize=256)
def composed_file(group: str, name: str) -> Mapping[str, Any]:
    """The file GROUP/NAME.yaml that is shipped, with its defaults list applied; empty where there is none.

    Interpolations are left as they stand.
    """
    path = conf_dir() / group / f"{name}.yaml"
    content = read_config(path) if path.is_file() else {}
    if "defaults" in content:  # Hydra takes a tenth of a second over it
        content = OmegaConf.to_container(_compose(_shipped(), f"{group}/{name}", [])[group])  # type: ignore[assignment]
    return MappingProxyType(content)


@functools.lru_cache(maxsize=1)
def _shipped() -> Any:
    """A Hydra that searches the shipped files only."""
    with _asked(None):
        name = JobRuntime.instance().get("name")  # which would be set to another
        initialize_config_dir(str(conf_dir()), job_name=name, version_base="1.3")
        return GlobalHydra.instance().hydra


def _compose(hydra: Any, config_name: str, overrides: Sequence[str]) -> DictConfig:
    with _asked(hydra):
        return compose(config_name, list(overrides))


@contextmanager
def _asked(hydra: Any) -> Iterator[None]:
    """``hydra`` (None: nobody) is the one that hydra.compose asks; afterwards it is again who it was."""
    before = GlobalHydra.instance().hydra
    _ask(hydra)
    try:
        yield
    finally:
        _ask(before)


def _ask(hydra: Any) -> None:
    GlobalHydra.instance().clear()
    if hydra is not None:
        GlobalHydra.instance().initialize(hydra)


def _described(settings: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{group}.{name}" for group, options in settings.items() for name in options)
