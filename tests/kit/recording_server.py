"""An HTTP server that gives a configured answer and records the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A recorded request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class RecordingServer:
    """The answer of the server, and the requests that it received."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    reads_bodies: bool = True
    """False: answers after the headers and closes the connection, as servers do when a body is too large."""
    received: list[ReceivedRequest] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received_text(self) -> str:
        """All requests as one text, in which a test looks for credentials of other servers."""
        return "\n".join(f"{request.headers} {request.body!r}" for request in self.received)


@contextmanager
def recording_server(**answers: object) -> Iterator[RecordingServer]:
    """Run a server on a free port."""
    record = RecordingServer(**answers)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0) if record.reads_bodies else 0
            record.received.append(
                ReceivedRequest(self.command, self.path, dict(self.headers), self.rfile.read(length))
            )
            self.send_response(record.status)
            for name, value in record.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(record.body)))
            self.end_headers()
            self.wfile.write(record.body)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        record.port = server.server_address[1]
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield record
        finally:
            server.shutdown()
            serving.join()
