"""Errors as the sentences that a person reads: which ones are theirs to mend, and in what words."""

from __future__ import annotations

import errno
import re

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from .configs import names_in, near
from .errors import UserError

EXPECTED = (UserError, HydraException, OmegaConfBaseException)  # mistakes in what was typed or is on disk


def is_expected(error: BaseException) -> bool:
    """Whether an error is answered by a sentence alone; any other is a fault of ours, and shows its traceback."""
    return isinstance(error, EXPECTED) or is_disk_error(error) or type(error).__name__ == "FailedJobError"


def sentence(error: Exception) -> str:
    """What went wrong, in a line or two for the person who typed the command."""
    if isinstance(error, UserError):
        return str(error)
    if type(error).__name__ == "FailedJobError":  # submitit's: a job's traceback as text
        last = str(error).strip().splitlines()[-1]
        return f"a job failed: {last.removeprefix('hear_exp.errors.UserError: ')}"
    if isinstance(error, OSError) and is_disk_error(error):
        return f"cannot write {error.filename}: {error.strerror}; choose another folder with paths.root=FOLDER"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith(("full_key", "object_type", "See ")))
    if match := re.match(r"Could not override '([^']+)'", text):
        return f"unknown option: {match.group(1)}{near(match.group(1))}; python -m hear_exp --help lists all"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, name = match.group(1).partition("/")
        options = names_in(group)
        return f"there is no {group} called {name!r}; choose one of: {', '.join(options)}" if options else text
    return text


def is_disk_error(error: BaseException) -> bool:
    """Whether the file system refused to write: read-only, not allowed, full, or a file where a folder should be."""
    refusals = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT, errno.EEXIST)
    return isinstance(error, OSError) and error.errno in refusals and bool(error.filename)
