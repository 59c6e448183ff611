"""One request over HTTP, and what its failures mean: no server, a busy one, a broken connection, or a no."""

from __future__ import annotations

import email.utils
import functools
import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import UserError

AGENT = "hear_exp (audio embedding benchmark)"
BUSY = (408, 429, 500, 502, 503, 504)  # answers that may differ the next time
BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError, urllib.error.URLError)
# As a rule a machine without internet, or a wrong address: waiting is no help.
NOBODY = (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError)


class AgainError(Exception):
    """This attempt failed; the next one may not. ``wait_s`` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


class UnreachableError(UserError):
    """There is no server at an address, or no way to it."""


class OutOfRangeError(Exception):
    """The file ends before the wanted range; ``total``: its bytes, if the server told."""

    def __init__(self, total: int | None):
        super().__init__()
        self.total = total


def open_url(url: str, timeout_s: float, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
    """The response to a request; ``timeout_s`` of silence count as a broken connection.

    Raises AgainError for a busy server, OutOfRangeError for a range after the file's end, UserError for one that says
    no, UnreachableError where there is none, and BROKEN for a connection that breaks off.
    """
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UserError(f"{url}: expected an address that begins with http:// or https://")
        request = urllib.request.Request(url, headers={"User-Agent": AGENT, **(headers or {})}, method=method)
        return _opener().open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in BUSY:
            raise AgainError(f"HTTP {error.code} {error.reason}", _retry_after(error.headers)) from error
        if error.code == 416 and headers and "Range" in headers:
            raise OutOfRangeError(whole_number(error.headers.get("Content-Range", "").rpartition("/")[2])) from error
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
        raise AgainError(broken_reason(error)) from error


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


def _retry_after(headers: Any) -> float | None:
    """Seconds that a busy server asks to wait: a number, or a date."""
    value = headers.get("Retry-After") if headers else None
    if not value:
        return None
    if (seconds := whole_number(value)) is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def whole_number(value: str | None) -> int | None:
    """A header's value as a whole number from 0 up; None where it is none."""
    return int(value) if value is not None and re.fullmatch(r"\s*\d{1,18}\s*", value) else None


def broken_reason(error: Exception) -> str:
    """Why a connection broke off, for a sentence."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"the connection broke off ({reason})" if str(reason) else f"the connection broke off ({reason!r})"
