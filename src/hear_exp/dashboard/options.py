"""What ``python -m hear_exp.dashboard`` is told: NAME=VALUE words into Options, mistakes as sentences."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..cli.composition import composed_file
from ..cli.configs import task_configs
from ..errors import UserError, shown

NAME_LENGTH = 128  # wandb refuses longer titles
_TAG = re.compile(r"[\w .:/+-]+")  # the package's filters are expressions, in which other characters mean something
_URL = re.compile(r"https?://[^/]+/(?P<entity>[^/]+)/(?P<project>[^/?]+)(?P<rest>.*)")


@dataclass(frozen=True)
class Options:
    """Which project, what is shown of it, and where the dashboard goes.

    ``entity`` '': the account's own. ``domain`` and ``protocol`` '': all of them. ``settings``: names of a
    predictor's settings that get a parallel plot of their own. ``workspace`` and ``report``: addresses of saved ones
    that are replaced. ``out``: a folder for files, in place of wandb.
    """

    project: str
    entity: str = ""
    name: str = "hear_exp"
    domain: str = ""
    protocol: str = ""
    settings: tuple[str, ...] = ()
    workspace: str = ""
    report: str = ""
    out: Path | None = None


HELP = {
    "project": "the project on wandb (default: logger.project, {project})",
    "entity": "the user or team it belongs to (default: WANDB_ENTITY, or else your account's)",
    "name": "what workspace and report are called (default: hear_exp)",
    "domain": "only tasks of this domain: {domains}",
    "protocol": "only runs of this protocol: hear2021, fixed or one of your own",
    "settings": "settings of a predictor of your own, a comma between, for a parallel plot of them",
    "workspace": "the address of a saved workspace, to replace it in place of saving another",
    "report": "the same for a report",
    "out": "write the specs and pictures of their layout into this folder, and call nobody",
}


def domains() -> list[str]:
    """The domains of the tasks that are shipped."""
    about = [task.get("about") or {} for task in task_configs().values()]
    return sorted({one["domain"] for one in about if "domain" in one})


def read_options(words: Sequence[str]) -> Options:
    """The options that ``words`` of the form NAME=VALUE give. Raises UserError for any that cannot be meant."""
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in HELP or not equals:
            close = difflib.get_close_matches(name, HELP, n=1)
            hint = f"did you mean {close[0]}=...?" if close else f"expected NAME=VALUE with one of: {', '.join(HELP)}"
            raise UserError(f"unknown option {shown(word)}; {hint}")
        if name in given:
            raise UserError(f"{name} is given twice: {shown(given[name])} and {shown(value)}")
        given[name] = value.strip()
    return _checked(given)


def _checked(given: dict[str, str]) -> Options:
    project = given.get("project", default_project())
    if not project or set(project) & set("/\\#?%:"):
        raise UserError(f"project is {shown(project)}, expected a name without / \\ # ? % :")
    name = given.get("name", "hear_exp")
    if not 0 < len(name) <= NAME_LENGTH:
        raise UserError(f"name has {len(name)} characters, but wandb takes a title of 1 to {NAME_LENGTH}")
    for option in ("domain", "protocol"):
        if given.get(option) and not _TAG.fullmatch(given[option]):
            raise UserError(f"{option} is {shown(given[option])}, expected letters, digits, spaces and . : / + - _")
    entity = given.get("entity", os.environ.get("WANDB_ENTITY", ""))
    for option in ("workspace", "report"):
        entity = _of_address(option, given.get(option, ""), project, entity)
    if "out" in given and not given["out"]:
        raise UserError("out is empty, expected a folder: out=FOLDER")
    return Options(
        project=project,
        entity=entity,
        name=name,
        domain=given.get("domain", ""),
        protocol=given.get("protocol", ""),
        settings=tuple(part.strip() for part in given.get("settings", "").split(",") if part.strip()),
        workspace=given.get("workspace", ""),
        report=given.get("report", ""),
        out=Path(given["out"]).expanduser() if "out" in given else None,
    )


def _of_address(option: str, url: str, project: str, entity: str) -> str:
    """The entity that a saved one's address names. Raises UserError for another project's, or another thing's."""
    if not url:
        return entity
    found = _URL.fullmatch(url)
    part = "?nw=" if option == "workspace" else "/reports/"
    if found is None or part not in found["rest"]:
        raise UserError(f"{option} is {shown(url)}, expected its address: https://wandb.ai/ENTITY/PROJECT{part}...")
    if found["project"] != project or found["entity"] != (entity or found["entity"]):
        raise UserError(
            f"{option} is one of {found['entity']}/{found['project']}, but the project is "
            f"{entity or 'ENTITY'}/{project}; give that one's address, or entity= and project= as the address has them"
        )
    return found["entity"]


def default_project() -> str:
    """The project that runs are recorded in, unless they are told another."""
    return str(composed_file("logger", "wandb")["project"])


assert set(HELP) == {field.name for field in fields(Options)}
