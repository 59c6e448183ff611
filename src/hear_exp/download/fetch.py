"""One file over HTTP: goes on where a broken transfer stopped, and waits for a busy server."""

from __future__ import annotations

import email.utils
import errno
import functools
import http.client
import json
import logging
import math
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import UserError
from .unpack import StorageError

log = logging.getLogger(__name__)

CHUNK = 1 << 18
LONGEST_JSON = 1 << 26
AGENT = "hear_exp (audio embedding benchmark)"
BUSY = (408, 429, 500, 502, 503, 504)  # answers that may differ the next time
BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError, urllib.error.URLError)
# As a rule a machine without internet, or a wrong address: waiting is no help.
NOBODY = (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError)

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


class _AgainError(Exception):
    """This attempt failed; the next one may not. ``wait_s`` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


class UnreachableError(UserError):
    """There is no server at an address, or no way to it."""


class _OutOfRangeError(Exception):
    """The file ends before the wanted range; ``total``: its bytes, if the server told."""

    def __init__(self, total: int | None):
        super().__init__()
        self.total = total


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
        except _AgainError as error:
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
            with _open(url, patience) as response:
                content = response.read(LONGEST_JSON + 1)
                if len(content) > LONGEST_JSON:
                    raise UserError(f"{url}: expected JSON, got more than {LONGEST_JSON} bytes")
                return json.loads(content)
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            raise UserError(f"{url}: expected JSON, got something else: {error}") from error
        except _AgainError as error:
            _pause(url, str(error), error.wait_s, fruitless, patience)
        except BROKEN as error:
            _pause(url, _reason(error), None, fruitless, patience)
    raise AssertionError("_pause raises after the last attempt")


def fetch_text(url: str, patience: Patience) -> str | None:
    """The short text at ``url``, None where the server has no such file."""
    try:
        with _open(url, patience) as response:
            return response.read(4096).decode("utf-8", "replace")
    except (UserError, _AgainError, *BROKEN):
        return None


def size_at(url: str, patience: Patience) -> int | None:
    """Bytes of the file at ``url`` as the server tells without sending it; None where it does not."""
    try:
        with _open(url, patience, method="HEAD") as response:
            return _number(response.headers.get("Content-Length"))
    except (UserError, _AgainError, *BROKEN):
        return None


def _transfer(url: str, part: Path, size: int | None, patience: Patience, on_bytes: OnBytes) -> None:
    """One attempt. Raises _AgainError where another one may do better."""
    have = _size_of(part)
    if size is not None and have == size:
        return on_bytes(have, size)
    # Compressed on the way, a range and a length would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with _open(url, patience, headers) as response:
            first, total = 0, _number(response.headers.get("Content-Length"))
            if response.status == 206:
                match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
                if not match or int(match.group(1)) != have:
                    part.unlink()
                    raise _AgainError("the server sent another part of the file than it was asked for")
                first, total = have, _number(match.group(2))
            elif have:
                log.info("the server does not continue a transfer; starting %s over", part.stem)
            total = size if total is None else total
            if size is not None and total != size:
                raise UserError(f"{url}: the server offers {total} bytes, expected {size}")
            _write(response, part, first, total, on_bytes)
    except _OutOfRangeError as error:
        if error.total == have:
            return on_bytes(have, have)
        part.unlink()
        raise _AgainError("what an earlier download left is longer than the file; starting over") from error
    except BROKEN as error:
        raise _AgainError(_reason(error)) from error


def _write(response: Any, part: Path, first: int, total: int | None, on_bytes: OnBytes) -> None:
    position = first
    with _on_disk(part), part.open("ab" if first else "wb") as file:
        on_bytes(position, total)
        while chunk := _received(response):
            file.write(chunk)
            position += len(chunk)
            on_bytes(position, total)
    if total is not None and position < total:
        raise _AgainError(f"the connection broke off after {position} of {total} bytes")
    if total is not None and position > total:
        part.unlink()
        raise _AgainError(f"the server sent more than the {total} bytes it announced")


def _received(response: Any) -> bytes:
    """The next bytes of a transfer. Raises _AgainError where it breaks off, whatever the system calls that."""
    try:
        return bytes(response.read1(CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError(_reason(error)) from error


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


def _open(url: str, patience: Patience, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
    """The response to a request. Raises _AgainError for a busy server, UserError for one that says no."""
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UserError(f"{url}: expected an address that begins with http:// or https://")
        request = urllib.request.Request(url, headers={"User-Agent": AGENT, **(headers or {})}, method=method)
        return _opener().open(request, timeout=patience.timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in BUSY:
            raise _AgainError(f"HTTP {error.code} {error.reason}", _retry_after(error.headers)) from error
        if error.code == 416 and headers and "Range" in headers:
            raise _OutOfRangeError(_number(error.headers.get("Content-Range", "").rpartition("/")[2])) from error
        raise UserError(f"{url}: the server answers HTTP {error.code} {error.reason}") from error
    except UserError:
        raise
    except (ValueError, http.client.InvalidURL) as error:  # no address at all, such as http://[
        raise UserError(f"{url}: not an address: {error}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, NOBODY):
            where = urlsplit(url).netloc
            raise UnreachableError(f"{where} cannot be reached ({error.reason}), wanted for {url}") from error
        raise
    except BROKEN:
        raise
    except OSError as error:  # the network's, under names that the others do not cover, such as no route to a host
        raise _AgainError(_reason(error)) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows where a server sends us by http and https, and from https by https only."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        target = urljoin(req.full_url, headers.get("Location") or headers.get("URI") or "")
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(target).scheme not in allowed:
            fp.close()
            raise UserError(
                f"{req.full_url}: the server sends on to {target!r}, which is not {' or '.join(allowed)}; not "
                "followed. Take the archive from elsewhere with download.mirror=URL_OR_FOLDER"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https, through the proxies of the environment, and nothing else: no ftp, no files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), urllib.request.ProxyHandler()),
        *(urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), _Redirects()),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


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


def _retry_after(headers: Any) -> float | None:
    """Seconds that a busy server asks to wait: a number, or a date."""
    value = headers.get("Retry-After") if headers else None
    if not value:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"\s*\d{1,18}\s*", value) else None


def _size_of(path: Path) -> int:
    return os.stat(path).st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"the connection broke off ({reason})" if str(reason) else f"the connection broke off ({reason!r})"
