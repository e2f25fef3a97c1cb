"""Fold texts for comparison: ignore case, Unicode composition, and the difference of Turkish and other i."""

from __future__ import annotations

import re
import unicodedata

_DOTTED_I = re.compile("i([\u0323\u0327\u0328\u0331]*)\u0307")
"""The case folding of İ, with marks below the letter, which come first in canonical order."""
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")


def fold(text: str) -> str:
    """The folded text, equal for texts that look the same. Line ends are kept.

    Canonical caseless matching (The Unicode Standard, 3.13.5, D145) in NFC. In addition, I, İ, ı and i are one letter:
    the language of a text is unknown, and the rules of one language would separate İSTANBUL and istanbul in the other.
    Invisible characters (soft hyphens, zero-width spaces and joiners, directional marks) are removed.
    """
    seen = _INVISIBLE.sub("", text)
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", seen).casefold())
    return unicodedata.normalize("NFC", _DOTTED_I.sub(r"i\1", folded).replace("\u0131", "i"))


def fold_email(text: str) -> str:
    """The canonical form in which an e-mail address is stored and looked up.

    It is lower case, so PostgreSQL's `lower` does not change it.
    """
    return unicodedata.normalize("NFC", fold(text.strip()).lower())


def email_forms(text: str) -> tuple[str, ...]:
    """The forms under which an account may be stored, in lookup order: lower case, then folded.

    Accounts from before addresses were folded may share a folded form; then one of them is stored in lower case.
    """
    return tuple(dict.fromkeys((text.strip().lower(), fold_email(text))))
