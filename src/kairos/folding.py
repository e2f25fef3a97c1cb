"""Texts compared as people read them: upper and lower case, composed and decomposed letters, and Turkish i alike."""

from __future__ import annotations

import re
import unicodedata

_DOTTED_I = re.compile("i([\u0323\u0327\u0328\u0331]*)\u0307")
"""What case folding makes of İ, with the marks below the letter that come first in canonical order."""
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")


def fold(text: str) -> str:
    """A form that is equal for texts that read alike. Line ends stay.

    Canonical caseless matching (The Unicode Standard, 3.13.5, D145) in NFC. Beyond it, I, İ, ı and i are one letter:
    whether a text is Turkish is not known, and folding for one language would keep İSTANBUL and istanbul apart in the
    other. Characters that nobody sees (soft hyphens, zero-width spaces and joiners, marks of direction) do not count.
    """
    seen = _INVISIBLE.sub("", text)
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", seen).casefold())
    return unicodedata.normalize("NFC", _DOTTED_I.sub(r"i\1", folded).replace("\u0131", "i"))


def fold_email(text: str) -> str:
    """The form in which an e-mail address is stored and looked up: one for each way to type it.

    In lower case at last, which PostgreSQL's `lower` leaves as it is.
    """
    return unicodedata.normalize("NFC", fold(text.strip()).lower())


def email_forms(text: str) -> tuple[str, ...]:
    """The forms under which an account may be stored, in the order to look them up: in lower case, then folded.

    From before addresses were folded, two accounts may share a fold; then one of them is stored in lower case.
    """
    return tuple(dict.fromkeys((text.strip().lower(), fold_email(text))))
