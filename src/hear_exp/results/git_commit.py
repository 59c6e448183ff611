"""The git commit that a file is of."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 10.0  # a repository on a slow disk must not hold a run up


@dataclass(frozen=True)
class Commit:
    """A checkout's commit; ``changed``: files under git differ from it."""

    id: str
    changed: bool


def commit_of(file: Path) -> Commit | None:
    """The commit of the checkout that ``file`` is part of; None where it is in none, and for whatever git fails with.

    A file that merely lies below a checkout, as an installed package in somebody's project does, is not part of it.
    """
    try:
        _git(file, "ls-files", "--error-unmatch", "--", file.name)
        return Commit(
            id=_git(file, "rev-parse", "HEAD"),
            changed=_git(file, "status", "--porcelain", "--untracked-files=no") != "",
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _git(file: Path, *words: str) -> str:
    """What git prints about the checkout around ``file``, whichever one the environment names."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(file.parent), *words]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True, timeout=LIMIT_S)
    return done.stdout.strip()
