"""Errors as the sentences that a person reads: which ones are theirs to mend, and in what words."""

from __future__ import annotations

import errno
import re
import sys
from typing import NoReturn

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ..errors import UserError
from ..safe_text import lines
from .configs import near

EXPECTED = (UserError, HydraException, OmegaConfBaseException, yaml.YAMLError)  # in what was typed or is on disk
_ELSEWHERE = "choose another folder with paths.root=FOLDER"
_DISK = {  # what the file system refuses, and what to do
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), f"free some space, or {_ELSEWHERE}"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR), _ELSEWHERE),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), _ELSEWHERE),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV), f"the disk fails; {_ELSEWHERE}"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (ulimit -n), or lower search.workers"),
}
_FULL_OR_FAILING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def is_expected(error: BaseException) -> bool:
    """Whether an error is answered by a sentence alone; any other is a fault of ours, and shows its traceback."""
    return isinstance(error, EXPECTED) or disk_error(error) is not None or _is_submitits(error)


def disk_error(error: BaseException) -> OSError | None:
    """The file system's refusal to write (full, read-only, not allowed, failing) that ``error`` is or comes from.

    A full or failing disk also where another error came of it: torch.save then fails once more, while closing.
    """
    if isinstance(error, OSError) and error.errno in _DISK:
        return error
    if error.__cause__ is not None:
        return disk_error(error.__cause__)
    came_of = disk_error(error.__context__) if error.__context__ is not None else None
    return came_of if came_of is not None and came_of.errno in _FULL_OR_FAILING else None


def leave(message: str, status: int = 1) -> NoReturn:
    """End the process with a sentence on stderr."""
    print(lines(f"hear_exp: {message}"), file=sys.stderr)
    raise SystemExit(status)


def sentence(error: BaseException) -> str:
    """What went wrong, in a line or two for the person who typed the command."""
    if isinstance(error, UserError):
        return str(error)
    if _is_submitits(error):  # a job's traceback as text, or that there is none
        last = str(error).strip().splitlines()[-1]
        return f"a job failed: {last.removeprefix('hear_exp.errors.UserError: ')}"
    if (refusal := disk_error(error)) is not None:
        name = f" {refusal.filename}" if refusal.filename else ""
        return f"cannot write{name}: {refusal.strerror}; {_DISK[refusal.errno or 0]}"
    if isinstance(error, OSError) and error.filename:
        return f"cannot write {error.filename}: {error.strerror}; {_ELSEWHERE}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_config(error)
    if isinstance(error, OverrideParseException):
        problem = str(error).splitlines()[0]
        return f"cannot read the option {error.override}: {problem}; a value with special characters goes in quotes"
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in said if not line.startswith(("full_key", "object_type", "See ")))
    if match := re.match(r"Could not override '([^']+)'", text):
        return f"unknown option: {match.group(1)}{near(match.group(1))}; python -m hear_exp --help lists all"
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        # An interpolation names what it refers to in full; a value itself is named within its group.
        name = error.full_key if isinstance(error, MissingMandatoryValue) and error.full_key else match.group(1)
        return f"{name} has no value here: give it one, {name}=VALUE"
    if match := re.match(r"Multiple values for (\S+)\. To override a value use 'override [^:]+: (\S+)'", text):
        return f"{match.group(1)} is given twice, or as an addition; write {match.group(1)}=NAME once, without a +"
    return text or type(error).__name__


def _missing_config(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if error.options:
        return f"there is no {group} called {name!r}; choose one of: {', '.join(sorted(error.options))}"
    if not group:
        return f"there is no config file called {name!r}"
    return (
        f"there is no {group} called {name!r}, and no other; it is a file of your own, FOLDER/{group}/{name}.yaml, "
        "found with --config-dir FOLDER"
    )


def _is_submitits(error: BaseException) -> bool:
    """Whether a job of a scheduler failed or was killed; submitit need not be installed."""
    return any(kind.__name__ in ("UncompletedJobError", "FailedSubmissionError") for kind in type(error).__mro__)
