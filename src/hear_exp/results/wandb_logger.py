"""The options of ``logger=wandb``, and whether wandb could start with them: known before the hours of embedding."""

from __future__ import annotations

import configparser
import contextlib
import netrc
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from ..errors import UserError, shown

Mode = Literal["online", "offline", "shared", "disabled"]  # wandb's names
_OLD_NAMES = {"run": "online", "dryrun": "offline"}  # which wandb takes too
UPLOADING = ("online", "shared")
HOST = "https://api.wandb.ai"
AGENT_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
NO_PROJECT_NAME = "/\\#?%:"  # characters that wandb refuses in one
NAME_LENGTH = 128  # wandb refuses longer names of projects, runs and groups


@dataclass(frozen=True)
class WandbLogger:
    """``logger=wandb``: where on wandb, and in which folder of this machine; conf/logger/wandb.yaml explains each."""

    project: str
    dir: Path
    mode: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] | None = None
    name: Literal["wandb"] = "wandb"

    @property
    def used_mode(self) -> str:
        """``mode``, else WANDB_MODE, else offline; but online where a W&B agent started this process."""
        usual = "online" if agents_run() else "offline"
        mode = self.mode or os.environ.get("WANDB_MODE") or usual
        return _OLD_NAMES.get(mode, mode)


def agents_run() -> str | None:
    """The id of the run that a W&B sweep's agent has made for this process; None where no agent started it."""
    environment = os.environ
    return environment.get("WANDB_RUN_ID") or None if environment.get("WANDB_SWEEP_ID") else None


@contextlib.contextmanager
def without_agent() -> Iterator[None]:
    """Hides the agent of a W&B sweep, whose one run the jobs of a sweep of ours cannot share."""
    hidden = {name: os.environ.pop(name) for name in AGENT_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def check_wandb(logger: WandbLogger) -> None:
    """Raise UserError for what would keep wandb from starting, as far as that is known without importing it."""
    mode, without = logger.used_mode, "logger=none goes without wandb"
    if mode not in get_args(Mode):
        raise UserError(
            f"logger.mode (or WANDB_MODE) is {shown(mode)}, expected one of: {', '.join(get_args(Mode))}; {without}"
        )
    if found := sorted(set(logger.project) & set(NO_PROJECT_NAME)):
        raise UserError(f"logger.project is {shown(logger.project)}, but wandb takes no {' '.join(found)} in a name")
    if not 0 < len(logger.project) <= NAME_LENGTH:
        raise UserError(
            f"logger.project has {len(logger.project)} characters, but wandb takes a name of 1 to {NAME_LENGTH}"
        )
    if mode in UPLOADING and not has_credentials():
        raise UserError(
            f"wandb is to upload (mode {mode}), but there is no key for it: log in with `wandb login`, set "
            f"WANDB_API_KEY, or record offline with WANDB_MODE=offline; {without}"
        )


def has_credentials(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether wandb would find a key: in WANDB_API_KEY, an identity token's file, or the netrc file for its server.

    Whether the key is valid only the server can tell. A netrc file that cannot be read is taken for one that has it.
    """
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    places = [environment["NETRC"]] if environment.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for path in (Path(place).expanduser() for place in places):
        try:
            keys = netrc.netrc(path)
        except FileNotFoundError:
            continue
        except (OSError, netrc.NetrcParseError):
            return True
        if any(keys.authenticators(host) for host in _hosts(environment)):
            return True
    return False


def _hosts(environment: Mapping[str, str]) -> list[str]:
    """The server that wandb would ask, or those that it may: by WANDB_BASE_URL, its settings files, or as usual."""
    urls = [environment["WANDB_BASE_URL"]] if environment.get("WANDB_BASE_URL") else _urls_of_settings(environment)
    return [urlsplit(url.strip("'\" ")).netloc for url in urls or [HOST]]


def _urls_of_settings(environment: Mapping[str, str]) -> list[str]:
    files = [Path(environment.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser() / "settings"]
    files.append(Path(environment.get("WANDB_DIR") or ".", "wandb", "settings"))
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(files, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return []
    return [parser[name]["base_url"] for name in parser.sections() if "base_url" in parser[name]]
