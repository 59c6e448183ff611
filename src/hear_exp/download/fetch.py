"""One file over HTTP: goes on where a broken transfer stopped, and waits for a busy server."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from .request import BROKEN, AgainError, OutOfRangeError, UnreachableError, broken_reason, open_url, whole_number
from .unpack import StorageError

log = logging.getLogger(__name__)

CHUNK = 1 << 18
LONGEST_JSON = 1 << 26
OnBytes = Callable[[int, "int | None"], None]  # bytes there so far, and of how many (None: not known)


@dataclass(frozen=True)
class Patience:
    """How long to go on with a server that is busy or breaks off.

    ``attempts`` that bring nothing new, in a row, are the end. Pauses start at ``pause_s`` seconds and double, up to
    ``longest_pause_s``; where the server says how long to wait (Retry-After) that counts, up to the same limit.
    ``timeout_s``: silence that counts as a broken connection.
    """

    attempts: int = 8
    pause_s: float = 1.0
    longest_pause_s: float = 300.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise UserError(f"download.attempts is {self.attempts!r}, expected a number from 1 up")
        if (
            isinstance(self.pause_s, bool)
            or not isinstance(self.pause_s, int | float)
            or not 0 <= self.pause_s < math.inf
        ):
            raise UserError(f"download.pause_s is {self.pause_s!r}, expected seconds from 0 up")


def fetch(url: str, part: Path, size: int | None, patience: Patience, on_bytes: OnBytes) -> None:
    """Download ``url`` into the file ``part``, from where an earlier transfer stopped; ``size`` in bytes if known.

    Whatever arrived stays in ``part`` when this fails or is interrupted, and the next call goes on from there.

    Raises UserError for an address that does not answer or says no, and when patience ends.
    """
    if size is not None and _size_of(part) > size:
        part.unlink()  # not a part of this file
    furthest, fruitless, came = _size_of(part), 0, False
    while True:
        try:
            _transfer(url, part, size, patience, on_bytes)
            return
        except AgainError as error:
            reason, wait_s = str(error), error.wait_s
        except UnreachableError as error:
            if not came:
                raise
            reason, wait_s = str(error), None  # it was there a moment ago
        if (reached := _size_of(part)) > furthest:
            furthest, fruitless, came = reached, 0, True
        fruitless += 1
        _pause(url, reason, wait_s, fruitless, patience, f"; {part} keeps what has arrived" if furthest else "")


def fetch_json(url: str, patience: Patience) -> Any:
    """The JSON document at ``url``. Raises UserError where there is none, or the server does not answer."""
    for fruitless in range(1, patience.attempts + 1):
        try:
            with open_url(url, patience.timeout_s) as response:
                content = response.read(LONGEST_JSON + 1)
                if len(content) > LONGEST_JSON:
                    raise UserError(f"{url}: expected JSON, got more than {LONGEST_JSON} bytes")
                return json.loads(content)
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            raise UserError(f"{url}: expected JSON, got something else: {error}") from error
        except AgainError as error:
            _pause(url, str(error), error.wait_s, fruitless, patience)
        except BROKEN as error:
            _pause(url, broken_reason(error), None, fruitless, patience)
    raise AssertionError("_pause raises after the last attempt")


def fetch_text(url: str, patience: Patience) -> str | None:
    """The short text at ``url``, None where the server has no such file."""
    try:
        with open_url(url, patience.timeout_s) as response:
            return bytes(response.read(4096)).decode("utf-8", "replace")
    except (UserError, AgainError, *BROKEN):
        return None


def size_at(url: str, patience: Patience) -> int | None:
    """Bytes of the file at ``url`` as the server tells without sending it; None where it does not."""
    try:
        with open_url(url, patience.timeout_s, method="HEAD") as response:
            return whole_number(response.headers.get("Content-Length"))
    except (UserError, AgainError, *BROKEN):
        return None


def _transfer(url: str, part: Path, size: int | None, patience: Patience, on_bytes: OnBytes) -> None:
    """One attempt. Raises AgainError where another one may do better."""
    have = _size_of(part)
    if size is not None and have == size:
        return on_bytes(have, size)
    # Compressed on the way, a range and a length would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with open_url(url, patience.timeout_s, headers) as response:
            first, total = 0, whole_number(response.headers.get("Content-Length"))
            if response.status == 206:
                match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
                if not match or int(match.group(1)) != have:
                    part.unlink()
                    raise AgainError("the server sent another part of the file than it was asked for")
                first, total = have, whole_number(match.group(2))
            elif have:
                log.info("the server does not continue a transfer; starting %s over", part.stem)
            total = size if total is None else total
            if size is not None and total != size:
                raise UserError(f"{url}: the server offers {total} bytes, expected {size}")
            _write(response, part, first, total, on_bytes)
    except OutOfRangeError as error:
        if error.total == have:
            return on_bytes(have, have)
        part.unlink()
        raise AgainError("what an earlier download left is longer than the file; starting over") from error
    except BROKEN as error:
        raise AgainError(broken_reason(error)) from error


def _write(response: Any, part: Path, first: int, total: int | None, on_bytes: OnBytes) -> None:
    position = first
    with _on_disk(part), part.open("ab" if first else "wb") as file:
        on_bytes(position, total)
        while chunk := _received(response):
            file.write(chunk)
            position += len(chunk)
            on_bytes(position, total)
    if total is not None and position < total:
        raise AgainError(f"the connection broke off after {position} of {total} bytes")
    if total is not None and position > total:
        part.unlink()
        raise AgainError(f"the server sent more than the {total} bytes it announced")


def _received(response: Any) -> bytes:
    """The next bytes of a transfer. Raises AgainError where it breaks off, whatever the system calls that."""
    try:
        return bytes(response.read1(CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise AgainError(broken_reason(error)) from error


@contextmanager
def _on_disk(part: Path) -> Iterator[None]:
    """Raises StorageError for the system's errors inside, which are those of the file ``part``."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"the disk is full ({error.strerror})" if full else f"{error.strerror or error}"
        raise StorageError(
            f"{what}, downloading to {part}, which keeps what has arrived; mend that, and the same command goes on "
            "from there"
        ) from error


def _pause(url: str, reason: str, wait_s: float | None, fruitless: int, patience: Patience, kept: str = "") -> None:
    if fruitless >= patience.attempts:
        raise UserError(
            f"{url}: {reason}; gave up after {fruitless} attempts without anything new{kept}. "
            "The same command tries again"
        )
    pause = patience.pause_s * 2 ** (fruitless - 1) if wait_s is None else wait_s
    pause = min(pause, patience.longest_pause_s)
    log.warning("%s; trying again in %.3g s (attempt %d of %d)", reason, pause, fruitless + 1, patience.attempts)
    time.sleep(pause)


def _size_of(path: Path) -> int:
    return os.stat(path).st_size if path.exists() else 0
