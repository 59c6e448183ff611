"""The code of a predictor from outside the package: part of a run's identity, and the same in all its processes."""

from __future__ import annotations

import sys

from ..embeddings.local_modules import Modules, modules_of
from ..embeddings.model_identity import edited_since_import, remember_imported, version_of
from ..errors import UserError
from .predictor import Predictor

_PACKAGE = __name__.partition(".")[0]


def code_of(predictor: type[Predictor]) -> str:
    """The version of its module and a digest of all local code that it takes in; '' for one of the package itself."""
    return "" if _is_ours(predictor) else version_of(sys.modules[predictor.__module__], _modules(predictor))


def remember_code(predictor: type[Predictor]) -> None:
    """Take its source, which has just been imported, as it is now."""
    if not _is_ours(predictor):
        remember_imported(_modules(predictor))


def check_unchanged(predictor: type[Predictor]) -> None:
    """Raise UserError where its source has been edited since: workers would import another one than this process."""
    edited = [] if _is_ours(predictor) else edited_since_import(_modules(predictor))
    if edited:
        raise UserError(
            f"{', '.join(map(str, edited))}: edited since this run began, so that its fits would not all be those of "
            "one predictor; run the same command again (embeddings are kept)"
        )


def _modules(predictor: type[Predictor]) -> Modules:
    return modules_of(sys.modules[predictor.__module__])


def _is_ours(predictor: type[Predictor]) -> bool:
    return predictor.__module__.partition(".")[0] == _PACKAGE
