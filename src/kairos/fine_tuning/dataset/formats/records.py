"""Splits a training data file into records: JSON lines or a JSON array, with the line number of each.

Only quotes and brackets are parsed, so that a broken record does not affect others, and a file larger than memory can
be read through `mmap`.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

BOM = b"\xef\xbb\xbf"
WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""An unterminated string is one token up to the end of the file, so that no text is scanned twice."""
START = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
LINE = re.compile(rb"[^\r\n]+")

Body = bytes | mmap.mmap


class Record(NamedTuple):
    """The text of a row, and its 1-based first line."""

    line: int
    text: bytes


class WideText(ValueError):
    """The file is UTF-16. Save it as UTF-8."""

    def __str__(self) -> str:
        return "the file is UTF-16. Save it as UTF-8"


def records(body: Body) -> Iterator[Record]:
    """Yield all records that are not blank. Raises `WideText`."""
    if body[:2] in WIDE_BOMS:
        raise WideText
    start = START.match(body)
    first = start.end() if start else 0
    if body[first : first + 1] == b"[" and not _is_lines(body, first):
        return _elements(body, first)
    return _lines(body)


def _is_lines(body: Body, first: int) -> bool:
    """Whether the file is JSON lines of lists: the first line is a complete value, and another line follows."""
    end = LINE.match(body, first)
    if end is None or not re.compile(rb"\S").search(body, end.end()):
        return False
    try:
        orjson.loads(end.group())
    except orjson.JSONDecodeError:
        return False
    return True


def _lines(body: Body) -> Iterator[Record]:
    counter = _Lines(body)
    for found in LINE.finditer(body):
        text = found.group().removeprefix(BOM).strip()
        if text:
            yield Record(counter.at(found.start()), text)


def _elements(body: Body, start: int) -> Iterator[Record]:
    """Yield the elements of the array at `start`, including a truncated last one."""
    counter, depth, begin = _Lines(body), 0, start
    for token in TOKEN.finditer(body, start):
        mark = token.group()
        if mark in b"[{":
            depth += 1
            begin = token.end() if depth == 1 else begin
        elif mark in b"]}":
            depth -= 1
        if depth == 0 or (depth == 1 and mark == b","):
            yield from _element(body, begin, token.start(), counter)
            begin = token.end()
        if depth == 0:
            break
    yield from _element(body, begin, len(body), counter)


def _element(body: Body, begin: int, end: int, counter: _Lines) -> Iterator[Record]:
    piece = body[begin:end]
    if text := piece.strip():
        yield Record(counter.at(begin + len(piece) - len(piece.lstrip())), text)


class _Lines:
    """Computes line numbers of increasing offsets. A line ends with LF, CR or both."""

    END = re.compile(rb"\r\n|\r|\n")

    def __init__(self, body: Body) -> None:
        self._body, self._offset, self._line = body, 0, 1

    def at(self, offset: int) -> int:
        self._line += sum(1 for _ in self.END.finditer(self._body, self._offset, offset))
        self._offset = offset
        return self._line
