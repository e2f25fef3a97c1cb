"""An HTTP server that answers as it is told and keeps what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class RecordingServer:
    """What it answers, and what it heard."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    reads_bodies: bool = True
    """False: it answers once it has the headers and closes the connection, as servers do with what is too large."""
    received: list[ReceivedRequest] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received_text(self) -> str:
        """Everything that it was sent, in which no credential of another server may be."""
        return "\n".join(f"{request.headers} {request.body!r}" for request in self.received)


@contextmanager
def recording_server(**answers: object) -> Iterator[RecordingServer]:
    """A running server on a port of its own."""
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
