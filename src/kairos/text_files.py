"""Read text files as editors write them: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from kairos.errors import InvalidInput

BYTE_ORDER_MARK = "\ufeff"
# UTF-32 first: its little-endian mark begins with UTF-16's.
OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class NotUtf8(ValueError):
    """The bytes are not UTF-8 text; the message names the likely encoding."""


def decode_text(content: bytes) -> str:
    """The text without its byte order mark, with `\\n` as its line end. Raises `NotUtf8`."""
    for mark, encoding in OTHER_MARKS:
        if content.startswith(mark):
            raise NotUtf8(f"it is {encoding} text")
    try:
        text = content.decode("utf-8").lstrip(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotUtf8(f"it is not UTF-8 text (line {line}, byte {error.start + 1})") from None
    if "\0" in text:  # UTF-16 ASCII without a mark decodes as UTF-8 with a NUL beside each letter
        raise NotUtf8("it contains NUL characters, as binary files and UTF-16 text do")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text_file(path: Path, where: str | None = None) -> str:
    """The text of a file. Raises `InvalidInput`, located at `where` or at the path."""
    try:
        return decode_text(path.read_bytes())
    except NotUtf8 as error:
        raise InvalidInput(where=where or path, problem=f"{path}: {error}", remedy="Save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(
            where=where or path, problem=f"{path} cannot be read: {reason}", remedy="Check the path and its permissions"
        ) from None
