"""What a person chose for a job: the options that were typed, and the config files that are not the usual ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from .composition import TASK_SETTINGS, Composition
from .configs import default_groups


@dataclass(frozen=True)
class Choices:
    """What a person chose for a job.

    ``overrides``: the job's, as typed. ``groups``: the config files that are not config.yaml's defaults, such as
    {'model': 'crepe'}. ``composition``: how the job's config came about, files of the person's own included.
    """

    overrides: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    composition: Composition | None = None

    def typed_options(self, group: str) -> set[str]:
        """Names of the options of ``group`` that were typed: {'lr'} for 'predictor'."""
        names = (override.key_or_group.split(".") for override in _parse(self.overrides))
        return {name[1] for name in names if name[0] == group and len(name) > 1}

    def typed_about(self, *groups: str) -> list[str]:
        """The overrides, as typed, that set options in ``groups``."""
        names = zip(self.overrides, _parse(self.overrides), strict=True)
        return [typed for typed, parsed in names if parsed.key_or_group.startswith(tuple(f"{g}." for g in groups))]

    def typed_outside(self, *groups: str) -> list[str]:
        """The overrides, as typed, that are neither files of ``groups`` nor options in them."""
        names = zip(self.overrides, _parse(self.overrides), strict=True)
        return [typed for typed, parsed in names if parsed.key_or_group.replace("/", ".").split(".")[0] not in groups]

    def touch(self, group: str) -> bool:
        """Whether the file of ``group`` was chosen, or an option in it typed."""
        return group in self.groups or bool(self.typed_options(group))


def choices_of_job(config: DictConfig) -> Choices:
    """The choices of the job that Hydra is running, or about to; ``config`` is its own."""
    hydra = HydraConfig.get()
    typed = tuple(str(override) for override in hydra.overrides.task)
    chosen, usual = hydra.runtime.choices, default_groups()
    composition = Composition(
        hydra=GlobalHydra.instance().hydra,  # a job of a launcher has it too: they hand Hydra's singletons on
        config_name=str(hydra.job.config_name),
        overrides=(*map(str, hydra.overrides.hydra), *typed),
        composed=config,
        has_place=TASK_SETTINGS in chosen,
    )
    groups = {group: str(name) for group, name in chosen.items() if group in usual and name != usual[group]}
    return Choices(typed, groups, composition)


def _parse(overrides: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(overrides))
