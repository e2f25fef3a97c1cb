"""Server-sent events, as model servers send them in practice."""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"


class EventStream:
    """Parses server-sent events from arbitrary chunks: returns the `data` of each event (WHATWG HTML, 9.2.6).

    Also returned are errors outside of events: a line of JSON from a server that failed within its stream, and the
    field `error` (llama.cpp). Lines are split before decoding, so characters that span two chunks need no special case.
    """

    def __init__(self, event_bytes: int = 4 * 1024 * 1024) -> None:
        """Raises ValueError from `feed` for an event longer than `event_bytes`."""
        self._limit = event_bytes
        self._size = 0
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that this chunk completes."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk, self._after_cr = chunk[1:], False
        events: list[bytes] = []
        for piece in chunk.splitlines(keepends=True):
            self._line.append(piece)
            self._size += len(piece)
            if piece.endswith((b"\n", b"\r")):
                self._end_line(events)
            if self._size > self._limit:
                raise ValueError(f"an event of more than {self._limit} bytes")
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return events

    def finish(self) -> list[bytes]:
        """Return the last event. Many servers omit the final empty line."""
        events: list[bytes] = []
        self._end_line(events)
        self._end_event(events)
        return events

    def _end_line(self, events: list[bytes]) -> None:
        line = self._line[0] if len(self._line) == 1 else b"".join(self._line)
        self._line.clear()
        line = line.rstrip(b"\r\n")
        if self._first:
            line, self._first = line.removeprefix(BOM), False
        if not line:
            self._end_event(events)
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            self._data.append(b"")
        elif line.startswith(b"{"):
            events.append(line)
        elif line.startswith(b"error:"):
            events.append(b'{"error":%s}' % line[6:])
        else:
            self._size = sum(map(len, self._data))  # a comment, or a field that is not used

    def _end_event(self, events: list[bytes]) -> None:
        if self._data:
            events.append(b"\n".join(self._data))
            self._data.clear()
        self._size = 0
