"""Who chose a value: the person, on the command line or in a file of theirs, or nobody, so that it is a default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.defaults_list import create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from .configs import conf_dir, default_groups


@dataclass(frozen=True)
class Choices:
    """What a person chose for a job.

    ``overrides``: the job's, as typed. ``options``: dotted names that an override or a file of another group
    (an experiment) sets, such as 'predictor.lr'. ``groups``: the config files that are not config.yaml's defaults,
    such as {'model': 'crepe'}.
    """

    overrides: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    groups: Mapping[str, str] = field(default_factory=dict)

    def options_in(self, group: str) -> set[str]:
        """Names of the options of ``group`` that were chosen: {'lr'} for 'predictor'."""
        heads = (name.split(".")[:2] for name in self.options if name.startswith(f"{group}."))
        return {option for _, option in heads}

    def typed_about(self, *groups: str) -> list[str]:
        """The overrides, as typed, that set options in ``groups``."""
        names = zip(self.overrides, _parse(self.overrides), strict=True)
        return [typed for typed, parsed in names if parsed.key_or_group.startswith(tuple(f"{g}." for g in groups))]

    def touch(self, group: str) -> bool:
        """Whether anything was chosen about ``group``: its file, or an option in it."""
        return group in self.groups or bool(self.options_in(group))


def choices_of_job() -> Choices:
    """The choices of the job that Hydra is running."""
    hydra = HydraConfig.get()
    typed = [str(override) for override in hydra.overrides.task]
    options = {override.key_or_group for override in _parse(typed) if "." in override.key_or_group}
    if GlobalHydra.instance().is_initialized():
        all_overrides = [*map(str, hydra.overrides.hydra), *typed]
        options |= set(_options_in_files(str(hydra.job.config_name), all_overrides))
    usual = default_groups()
    groups = {
        group: str(name) for group, name in hydra.runtime.choices.items() if group in usual and name != usual[group]
    }
    return Choices(tuple(typed), frozenset(options), groups)


def _parse(overrides: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(overrides))


def _options_in_files(config_name: str, overrides: Sequence[str]) -> Iterator[str]:
    """Names that the composed files set outside their own group: an experiment's, or those of one's own config.yaml.

    A predictor's file says what that predictor is; whoever sets predictor.lr elsewhere wants that lr.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    # The loader's own repository does not know of hydra.searchpath among the overrides.
    parsed, files = loader._parse_overrides_and_create_caching_repo(config_name, list(overrides))
    composed = create_defaults_list(files, config_name, parsed, prepend_hydra=True, skip_missing=False)
    for default in composed.defaults:
        path = default.config_path or ""
        found = files.load_config(path) if path else None
        if found is None or not isinstance(found.config, DictConfig):
            continue
        group = path.rpartition("/")[0]
        if group != "experiment" and found.path == f"file://{conf_dir()}":
            continue  # shipped
        prefix = default.package.split(".") if default.package not in (None, "", "_global_") else []
        for name in _names(OmegaConf.to_container(found.config), prefix):
            if len(name) > 1 and name[0] not in (group, "hydra", "defaults"):
                yield ".".join(name)


def _names(content: Any, prefix: list[str]) -> Iterator[list[str]]:
    if not isinstance(content, dict):
        yield prefix
        return
    for key, value in content.items():
        yield from _names(value, [*prefix, str(key)])
