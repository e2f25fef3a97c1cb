r"""Escape characters that a terminal or a log would interpret or not show, for example as `\x1b`.

These are control characters (ANSI sequences begin with one), marks that change the direction of text
(CVE-2021-42574), other invisible characters of Unicode's category Cf, blank fillers, line and paragraph separators,
and lone surrogates.
"""

from __future__ import annotations

import re

# Joiners in emoji and in scripts that need them are part of the visible character.
_JOINED = (
    r"(?<=[\u0600-\u0dff\u2600-\u27bf\ufe0f\U0001f300-\U0001faff])[\u200c\u200d]"
    r"(?=[\u0600-\u0dff\u2640-\u27bf\U0001f300-\U0001faff])"
)
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_ANY = re.compile(f"(?P<kept>{_JOINED})|[{_UNSEEN}]")
_LINE_END = re.compile(r"\r+\n")


def one_line(text: str) -> str:
    """The text with every such character escaped, including line ends and tabs."""
    return _ANY.sub(_escape, text)


def lines(text: str) -> str:
    """The text with every such character escaped, except line ends and tabs."""
    return _ANY.sub(_escape_within_lines, _LINE_END.sub("\n", text))


def json_text(document: str) -> str:
    """A JSON document with such characters as JSON escapes: the same values, safe to print."""
    return _ANY.sub(_escape_in_json, document)


def _escape(found: re.Match[str]) -> str:
    character, code = found[0], ord(found[0])
    if found["kept"]:
        return character
    named = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(character)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _escape_within_lines(found: re.Match[str]) -> str:
    return found[0] if found[0] in "\n\t" else _escape(found)


def _escape_in_json(found: re.Match[str]) -> str:
    """The JSON escape of a character. Line ends are kept: unescaped ones occur only between values."""
    character, code = found[0], ord(found[0])
    if found["kept"] or character == "\n":
        return character
    units = [code] if code < 0x10000 else [0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF)]
    return "".join(f"\\u{unit:04x}" for unit in units)
