"""Text that arrives in pieces which a server may have cut anywhere, even inside a character."""

from __future__ import annotations

import codecs
import re

from kairos.storable_text import is_storable, join_pairs, storable

_HIGH = re.compile("[\ud800-\udbff]\\Z")
_RUNS = re.compile("[\udc80-\udcff]+|[^\udc80-\udcff]+")


class TextPieces:
    """Joins the pieces before it decodes them, so that no character is lost that two of them share.

    Two cuts are seen: servers that cut UTF-16 send half a surrogate pair in each piece, servers that cut bytes send a
    part of a UTF-8 sequence. Such bytes come here as Python's `surrogateescape` writes them. What stays half becomes
    U+FFFD, and so does NUL, which PostgreSQL cannot store.
    """

    def __init__(self) -> None:
        self._high = ""
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._plain = True

    def feed(self, piece: str) -> str:
        """The characters that this piece completes."""
        if self._plain and is_storable(piece):
            return piece
        text = join_pairs(self._high + piece)
        self._high = text[-1] if _HIGH.search(text) else ""
        out = "".join(map(self._decode, _RUNS.findall(text.removesuffix(self._high) if self._high else text)))
        self._plain = not self._high and not self._bytes.getstate()[0]
        return storable(out)

    def finish(self) -> str:
        """What is left when no piece follows."""
        rest = storable(self._high) + self._bytes.decode(b"", final=True)
        self._high, self._plain = "", True
        return rest

    def _decode(self, run: str) -> str:
        if "\udc80" <= run[0] <= "\udcff":
            return self._bytes.decode(run.encode("utf-8", "surrogateescape"))
        rest = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        return rest + run
