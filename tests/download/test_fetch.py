"""Transfers from a real server on this machine that breaks off, is busy, ignores ranges or lies."""

import email.message
import email.utils
import io
import socket
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from archive_server import ArchiveServer

from hear_exp.download import fetch as module
from hear_exp.download import request as request_module
from hear_exp.download.fetch import Patience, fetch, fetch_json, fetch_text, size_at
from hear_exp.download.request import UnreachableError
from hear_exp.errors import UserError

NAME = "a.tar.gz"
CONTENT = bytes(range(256)) * 1200  # more than a chunk
SIZE = 307_200
SOON = Patience(attempts=3, pause_s=0.001, timeout_s=5)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ArchiveServer({NAME: CONTENT}).running() as running:
        yield running


@pytest.fixture
def part(tmp_path):
    return tmp_path / "a.tar.gz.part"


@pytest.fixture
def pauses(monkeypatch):
    """The pauses made, none of them real."""
    made = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=made.append, time=time.time))
    return made


def get(server, part, size=SIZE, patience=SOON):
    seen = []
    fetch(f"{server.address}/files/{NAME}", part, size, patience, lambda *position: seen.append(position))
    return seen


def test_whole_file(server, part):
    seen = get(server, part)
    assert part.read_bytes() == CONTENT
    assert seen[0] == (0, SIZE)
    assert seen[-1] == (SIZE, SIZE)
    assert seen == sorted(seen)
    assert server.downloads == [None]


def test_nothing_to_transfer(server, part):
    part.write_bytes(CONTENT)
    assert get(server, part) == [(SIZE, SIZE)]
    assert server.downloads == []


@pytest.mark.parametrize("size", [SIZE, None])
def test_breaks_off_and_goes_on(server, part, size):
    server.faults = [100_000, 50_000, 0]
    get(server, part, size)
    assert part.read_bytes() == CONTENT
    assert server.downloads == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-"]


def test_goes_on_from_a_former_process(server, part):
    part.write_bytes(CONTENT[:200_000])
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert server.downloads == ["bytes=200000-"]
    assert server.sent == SIZE - 200_000


def test_starts_over_where_ranges_are_ignored(server, part):
    server.ranges = False
    server.faults = [100_000]
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert server.downloads == [None, "bytes=100000-"]
    assert server.sent == SIZE + 100_000


def test_breaking_off_at_the_same_place_for_ever_ends(server, part, pauses):
    """Without ranges each attempt brings the same first bytes: that is no progress."""
    server.ranges = False
    server.forever = None
    server.faults = [100_000] * 10
    with pytest.raises(UserError, match=r"broke off after 100000 of 307200 bytes; gave up after 3 .* keeps what has"):
        get(server, part)
    assert len(server.downloads) == 3
    assert part.read_bytes() == CONTENT[:100_000]


def test_progress_renews_patience(server, part, pauses):
    server.faults = [30_000] * 10
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert len(server.downloads) == 11
    assert set(pauses) <= {0.001}  # after progress the pauses are short again


def test_busy_then_well(server, part, pauses):
    server.faults = [(429, {}), (503, {})]
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert pauses == [0.001, 0.002]


def test_retry_after_in_seconds(server, part, pauses):
    server.faults = [(429, {"Retry-After": "7"}), (503, {"Retry-After": "100000"})]
    get(server, part)
    assert pauses == [7, SOON.longest_pause_s]


def test_retry_after_as_a_date(server, part, pauses):
    server.faults = [(429, {"Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)})]
    get(server, part)
    assert 25 < pauses[0] <= 30


def test_retry_after_that_is_neither(server, part, pauses):
    server.faults = [(429, {"Retry-After": "soon"})]
    get(server, part)
    assert pauses == [0.001]


def test_busy_for_ever(server, part, pauses):
    server.forever = (503, {})
    with pytest.raises(UserError, match=r"HTTP 503 Service Unavailable; gave up after 3 attempts .* tries again$"):
        get(server, part)
    assert pauses == [0.001, 0.002]
    assert len(server.downloads) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_no_is_no(server, part, pauses, status):
    server.forever = (status, {})
    with pytest.raises(UserError, match=f"the server answers HTTP {status} "):
        get(server, part)
    assert pauses == []


def test_throttled(server, part):
    server.slow_s = 0.005
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_silence_is_a_broken_connection(server, part):
    server.slow_s = 0.5
    with pytest.raises(UserError, match=r"the connection broke off .*timed out"):
        get(server, part, patience=Patience(attempts=1, timeout_s=0.1))
    server.slow_s = 0
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_a_size_that_is_not_the_listed_one(server, part):
    with pytest.raises(UserError, match="the server offers 307200 bytes, expected 307201"):
        get(server, part, SIZE + 1)


def test_a_part_that_is_too_long_is_of_another_file(server, part):
    part.write_bytes(b"x" * (SIZE + 5))
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_a_part_whose_file_is_of_unknown_size(server, part):
    part.write_bytes(CONTENT)
    get(server, part, None)
    assert part.read_bytes() == CONTENT
    part.write_bytes(CONTENT + b"x")
    get(server, part, None)
    assert part.read_bytes() == CONTENT


def test_no_length_told(server, part):
    server.lengths = False
    assert get(server, part, None)[-1] == (SIZE, None)
    assert part.read_bytes() == CONTENT


def test_nobody_there(part, pauses):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
        with pytest.raises(UnreachableError, match=r"^127\.0\.0\.1:\d+ cannot be reached"):
            fetch(url, part, None, SOON, lambda *position: None)
    assert pauses == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a", "a/b"])
def test_other_addresses(part, url):
    with pytest.raises(UserError, match="expected an address that begins with http"):
        fetch(url, part, None, SOON, lambda *position: None)


def test_json_and_text(server, pauses):
    assert fetch_json(server.record, SOON)["id"] == 6332517
    with pytest.raises(UserError, match="expected JSON, got something else"):
        fetch_json(f"{server.address}/files/{NAME}", SOON)
    server.faults = [(500, {})] * 3
    with pytest.raises(UserError, match=r"HTTP 500 .*gave up after 3"):
        fetch_json(f"{server.address}/files/{NAME}", SOON)
    assert fetch_text(f"{server.address}/files/none.md5", SOON) is None
    server.files["a.md5"] = b"abc"
    assert fetch_text(f"{server.address}/files/a.md5", SOON) == "abc"
    assert size_at(f"{server.address}/files/{NAME}", SOON) == SIZE
    assert size_at(f"{server.address}/files/none", SOON) is None


@pytest.mark.parametrize(("field", "value"), [("attempts", 0), ("attempts", 1.5), ("pause_s", -1), ("pause_s", "long")])
def test_patience_that_makes_no_sense(field, value):
    with pytest.raises(UserError, match=f"^download.{field} is {value!r}, expected"):
        Patience(**{field: value})


# Where a server sends us, and what it says ---------------------------------------------------------------------


@pytest.mark.parametrize("target", ["ftp://host/a", "file:///etc/passwd", "data:,x", "gopher://host/a"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_lead_to_the_web_only(server, part, pauses, target, status):
    server.faults = [(status, {"Location": target})]
    with pytest.raises(UserError) as caught:
        get(server, part)
    assert f"the server sends on to '{target}', which is not http or https; not followed" in str(caught.value)
    assert not part.exists()
    assert pauses == []


def test_a_redirect_on_the_web_is_followed(server, part):
    server.faults = [(302, {"Location": f"{server.address}/files/{NAME}"})]
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_https_does_not_lead_to_http():
    request = urllib.request.Request("https://host/a")
    headers = email.message.Message()
    headers["Location"] = "http://host/a"
    with pytest.raises(UserError, match="sends on to 'http://host/a', which is not https; not followed"):
        request_module._Redirects().http_error_302(request, io.BytesIO(), 302, "Found", headers)


def test_nothing_but_http_is_opened():
    for url in ("ftp://host/a", "file:///etc/passwd"):
        with pytest.raises(urllib.error.URLError, match="unknown url type"):
            request_module._opener().open(url)


@pytest.mark.parametrize("url", ["http://[", "http://host:port/a", "http://host/a b", "http://" + "a" * 80 + ".b/"])
def test_what_is_no_address(part, pauses, url):
    with pytest.raises(UserError):
        fetch(url, part, None, SOON, lambda *position: None)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b'{"a": 1', b""])
def test_json_that_is_none(server, content):
    server.files["record.json"] = content
    with pytest.raises(UserError, match="expected JSON, got something else"):
        fetch_json(f"{server.address}/files/record.json", SOON)


def test_json_without_end(server, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_JSON", 1000)
    server.files["record.json"] = b" " * 2000
    with pytest.raises(UserError, match="expected JSON, got more than 1000 bytes"):
        fetch_json(f"{server.address}/files/record.json", SOON)


def test_no_route_to_a_host_may_pass(server, part, monkeypatch, pauses):
    """Errors of the network that Python has no class for are a broken connection, on the way too."""
    real, left = request_module._opener().open, iter(range(1))

    def unroutable(*arguments, **options):
        if next(left, None) is not None:
            raise OSError(113, "No route to host")
        return real(*arguments, **options)

    monkeypatch.setattr(request_module, "_opener", lambda: SimpleNamespace(open=unroutable))
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert len(pauses) == 1
