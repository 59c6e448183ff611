"""The log file of a run, which says once, in a sentence, that it cannot be written."""

from __future__ import annotations

import logging
import sys


class RunLog(logging.FileHandler):
    """A log file that a full disk does not fill the console with tracebacks for."""

    _told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the file is opened with the first one."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Called by logging within the exception's handler."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            print(f"hear_exp: cannot write {self.baseFilename}: {error.strerror}; the run goes on", file=sys.stderr)
