"""A web server on this machine that offers archives, and misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RECORD = "/api/records/6332517"


class ArchiveServer:
    """``files``: name -> content, under /files/NAME and in the record at RECORD.

    ``faults`` are used up one by one, by requests for files: a status (with headers), bytes after which the
    connection breaks off, or None for an honest answer. Then every answer is honest, but for ``forever``.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = dict(files)
        self.md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
        self.sizes: dict[str, int] = {}  # lies about them
        self.faults: list[tuple[int, dict[str, str]] | int | None] = []
        self.forever: tuple[int, dict[str, str]] | None = None
        self.ranges = True
        self.lengths = True  # whether answers tell their length
        self.slow_s = 0.0  # pause after each 16 kB
        self.requests: list[tuple[str, str | None]] = []  # path and Range of each GET
        self.sent = 0

    @property
    def record(self) -> str:
        return f"{self.address}{RECORD}"

    @property
    def downloads(self) -> list[str | None]:
        """The ranges of the requests for archives so far."""
        return [asked for path, asked in self.requests if path.endswith(".tar.gz")]

    def listing(self) -> bytes:
        files = [
            {
                "key": name,
                "size": self.sizes.get(name, len(content)),
                "checksum": f"md5:{self.md5[name]}",
                "links": {"self": f"{self.address}/files/{name}"},
            }
            for name, content in self.files.items()
        ]
        return json.dumps({"id": 6332517, "files": files}).encode()

    @contextmanager
    def running(self) -> Iterator[ArchiveServer]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args) -> None:
                pass

            def do_HEAD(self) -> None:
                name = self.path.rpartition("/")[2]
                self.send_response(200 if name in outer.files else 404)
                self.send_header("Content-Length", str(len(outer.files.get(name, b""))))
                self.end_headers()

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.requests.append((self.path, asked))
                name = self.path.rpartition("/")[2]
                if self.path == RECORD:
                    self.answer(200, outer.listing())
                elif name not in outer.files:
                    self.answer(404, b"not here")
                else:
                    self.send_file(outer.files[name], asked)

            def send_file(self, content: bytes, asked: str | None) -> None:
                fault = outer.faults.pop(0) if outer.faults else outer.forever
                if isinstance(fault, tuple):
                    self.answer(fault[0], b"", fault[1])
                    return
                if asked and outer.ranges:
                    first, total = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)), len(content)
                    if first >= total:
                        self.answer(416, b"", {"Content-Range": f"bytes */{total}"})
                        return
                    where = {"Content-Range": f"bytes {first}-{total - 1}/{total}"}
                    self.answer(206, content[first:], where, fault)
                else:
                    self.answer(200, content, {}, fault)

            def answer(
                self, status: int, body: bytes, headers: dict[str, str] | None = None, stop: int | None = None
            ) -> None:
                self.send_response(status)
                for key, value in (headers or {}).items():
                    self.send_header(key, value)
                if outer.lengths:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    for start in range(0, len(body[:stop]), 16384):
                        piece = body[:stop][start : start + 16384]
                        outer.sent += len(piece)  # first: who has read it may ask for the sum at once
                        self.wfile.write(piece)
                        time.sleep(outer.slow_s)
                except (BrokenPipeError, ConnectionResetError):
                    pass

        return Handler


def pack(folder: Path, name: str | None = None, prefix: str = "hear-2021.0.6/tasks") -> bytes:
    """A task folder as HEAR packs it: PREFIX/NAME/..."""
    return pack_with(lambda tar: tar.add(folder, f"{prefix}/{name or folder.name}"))


def pack_with(add: Callable[[tarfile.TarFile], None]) -> bytes:
    """A .tar.gz of what ``add`` puts in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        add(tar)
    return buffer.getvalue()


def member(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, io.BytesIO]:
    """A member for tar.addfile, with any field a hostile archive may set."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)
