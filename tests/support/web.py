"""A web server on loopback that misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """A web server on loopback whose files misbehave as told.

    ``files``: content by path. ``faults``: for a path, what its next requests meet in turn, a
    status, ``"cut"`` (half of the body, then the end), ``"stall"`` (half, then silence),
    ``"silence"``, ``"slow"`` (in pieces, with pauses) or ``"html"``. ``redirects``: by path, where
    to. ``log``: (path, Range header).
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list] = {}
        self.log: list[tuple[str, str | None]] = []
        self.redirects: dict[str, str] = {}
        self.validators = True
        self.woken = threading.Event()
        """Ends all silence."""

    def handle_error(self, *args: object) -> None:
        """Say nothing of clients that were killed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.log.append((self.path, wanted))
        fault = server.faults[self.path].pop(0) if server.faults.get(self.path) else None
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.files.get(self.path)
        if body is None or isinstance(fault, int):
            self.send_error(fault or 404)
            return
        if fault == "silence":
            server.woken.wait()
            return
        if fault == "html":
            body = b"<!DOCTYPE html><title>Log in</title>"
        etag = f'"{hash(body)}"'
        start = 0
        if wanted and server.validators and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if server.validators:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if fault == "slow":
            for at in range(0, len(rest), 1 << 18):
                server.woken.wait(0.2)
                self.wfile.write(rest[at : at + (1 << 18)])
            return
        self.wfile.write(rest[: len(rest) // 2] if fault in ("cut", "stall") else rest)
        if fault == "stall":
            server.woken.wait()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield running
        running.woken.set()
        running.shutdown()
        thread.join()
