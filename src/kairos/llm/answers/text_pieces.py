"""Joins text from chunks that a server may have cut anywhere, even within a character."""

from __future__ import annotations

import codecs
import re

from kairos.storable_text import is_storable, join_pairs, storable

_HIGH = re.compile("[\ud800-\udbff]\\Z")
_RUNS = re.compile("[\udc80-\udcff]+|[^\udc80-\udcff]+")


class TextPieces:
    """Joins chunks before decoding them, so that characters which span two chunks are preserved.

    Servers that cut UTF-16 send half a surrogate pair in each chunk; servers that cut bytes send part of a UTF-8
    sequence, which arrives here in Python's `surrogateescape` form. Incomplete characters become U+FFFD, and so does
    NUL, which PostgreSQL cannot store.
    """

    def __init__(self) -> None:
        self._high = ""
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._plain = True

    def feed(self, piece: str) -> str:
        """Add a chunk. Returns the characters that it completes."""
        if self._plain and is_storable(piece):
            return piece
        text = join_pairs(self._high + piece)
        self._high = text[-1] if _HIGH.search(text) else ""
        out = "".join(map(self._decode, _RUNS.findall(text.removesuffix(self._high) if self._high else text)))
        self._plain = not self._high and not self._bytes.getstate()[0]
        return storable(out)

    def finish(self) -> str:
        """Return the remaining text, once no chunk follows."""
        rest = storable(self._high) + self._bytes.decode(b"", final=True)
        self._high, self._plain = "", True
        return rest

    def _decode(self, run: str) -> str:
        if "\udc80" <= run[0] <= "\udcff":
            return self._bytes.decode(run.encode("utf-8", "surrogateescape"))
        rest = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        return rest + run
