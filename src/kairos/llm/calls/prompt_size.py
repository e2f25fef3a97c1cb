"""Upper and lower bounds for the number of tokens in a prompt.

Tokenizers differ by more than a factor of three, so a single estimate would be wrong. `token_upper_bound` decides which
messages are sent, using the weights of the model's vocabulary. `SMALL` is for the embedded model (SmolLM2, 49,152
tokens, English), the least efficient one in use for other languages. `LARGE` is for all other models, whose
vocabularies have 100,000 tokens or more; if it is too low, the server refuses the prompt, or `prompt_cut.py` detects
that it was truncated. `token_lower_bound` detects servers that counted too few: no tokenizer joins two units.

Measured with SmolLM2, characters per token: English 4 to 7, Python 4, Turkish 1.8 (2.3 without its own letters),
Russian 1.4, Arabic 1.0, Chinese .58, Korean .48, digits 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from kairos.llm.catalog.catalog import EMBEDDED_MODEL, AdapterHost, Model

MESSAGE_TOKENS = 8
"""Role and delimiters of each message."""
REQUEST_TOKENS = 24
"""Overhead of a request: some templates add a system message."""
SAMPLED_FROM = 200_000
"""Longer texts are sampled in slices, so that a request of megabytes blocks nothing."""
SLICES, SLICE = 40, 5_000
CACHED_FROM, CACHE_SIZE = 2_000, 256
"""The bounds of this many long texts are cached, because one call needs them several times."""

PIECES = re.compile(
    r"(?P<lower>[A-Z]?[a-z]+)|(?P<upper>[A-Z]+)|(?P<digits>\d)|(?P<gap> (?=[A-Za-z]))|(?P<space>[ \t]+)|(?P<line>\s)"
    r"|(?P<latin>[\u0080-\u024f\u1e00-\u1eff])|(?P<middle>[\u0250-\u07ff])|(?P<hangul>[\uac00-\ud7af])|(?P<wide>[\u0800-\uffff])|(?P<mark>[!-~])"
    r"|(?P<rest>.)",
    re.DOTALL,
)
UNITS = re.compile(
    r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0eff]+|(?P<dense>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])|\d{1,4}"
)
COMMON = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "in",
        "a",
        "is",
        "that",
        "for",
        "it",
        "as",
        "with",
        "on",
        "be",
        "are",
        "this",
        "by",
        "or",
        "not",
        "from",
        "you",
        "i",
        "have",
        "has",
        "was",
        "an",
        "if",
        "at",
        "we",
        "can",
        "which",
        "def",
        "return",
        "self",
        "class",
        "import",
        "none",
        "true",
        "false",
        "else",
        "str",
        "int",
        "var",
        "const",
        "let",
        "function",
        "new",
        "public",
        "void",
        "null",
    ]
)
"""The most frequent tokens of English and code."""
FAMILIAR_SHARE, FAMILIAR_WORDS = 0.12, 16
"""Consecutive lower-case pieces are judged in groups of this size, because a prompt may mix languages: a group is in a
familiar language if at least this share of it is common."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Maximum number of tokens that a tokenizer produces for parts of text."""

    letters: float
    """Letters per token in lower-case text of an unfamiliar language."""
    latin: float
    """Tokens per Latin letter that English does not have. The fields below are tokens per character too."""
    middle: float
    """Greek, Cyrillic, Arabic and others of two bytes."""
    hangul: float
    wide: float
    """Chinese, Japanese, Indian scripts and others of three bytes."""


SMALL = Vocabulary(letters=2.2, latin=1.5, middle=1.1, hangul=2.5, wide=2.2)
LARGE = Vocabulary(letters=3.2, latin=1.0, middle=0.9, hangul=1.2, wide=1.0)


_cache: dict[tuple[bytes, Vocabulary], int] = {}
"""Bounds of long texts by hash, least recently used first. The texts themselves are not kept."""


def vocabulary_of(model: Model) -> Vocabulary:
    """Return the vocabulary of a model. Adapters of the embedded model are recognised by their base."""
    embedded = model.adapter_host is AdapterHost.EMBEDDED or model.base == EMBEDDED_MODEL
    return SMALL if embedded else LARGE


def token_upper_bound(text: str, vocabulary: Vocabulary = LARGE) -> int:
    """Return an upper bound of a text's tokens."""
    return _cached_bound(text, vocabulary) if len(text) > CACHED_FROM else _measured(text, vocabulary)


def _cached_bound(text: str, vocabulary: Vocabulary) -> int:
    key = blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest(), vocabulary
    tokens = _cache.pop(key, None)
    if tokens is None:
        tokens = _sampled(text, vocabulary) if len(text) > SAMPLED_FROM else _measured(text, vocabulary)
    _cache[key] = tokens
    if len(_cache) > CACHE_SIZE:
        _cache.pop(next(iter(_cache)), None)
    return tokens


def _sampled(text: str, vocabulary: Vocabulary) -> int:
    return math.ceil(1.1 * _scaled(text, lambda part: _measured(part, vocabulary)))


def _measured(text: str, vocabulary: Vocabulary) -> int:
    words: list[str] = []
    others = 0.0
    for found in PIECES.finditer(text):
        if found.lastgroup == "lower":
            words.append(found.group())
        else:
            others += _weight(found.lastgroup or "rest", len(found.group()), vocabulary)
    groups = (words[start : start + FAMILIAR_WORDS] for start in range(0, len(words), FAMILIAR_WORDS))
    return math.ceil(others + sum(_words(group, vocabulary) for group in groups))


def _words(words: list[str], vocabulary: Vocabulary) -> float:
    if sum(word.lower() in COMMON for word in words) >= FAMILIAR_SHARE * len(words):
        return sum(1 + max(0, len(word) - 7) / 4 for word in words)
    return sum(max(1.0, len(word) / vocabulary.letters) for word in words)


def token_lower_bound(text: str) -> int:
    """Return a lower bound of a text's tokens: one per unit, a third per character in scripts without spaces."""
    if len(text) > SAMPLED_FROM:
        return int(0.9 * _scaled(text, token_lower_bound))
    units = dense = 0
    for found in UNITS.finditer(text):
        if found.lastgroup:
            dense += 1
        else:
            units += 1
    return units + dense // 3


def prompt_upper_bound(
    messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]] = (), vocabulary: Vocabulary = LARGE
) -> int:
    """Return an upper bound of a prompt's tokens."""
    texts = [_texts(message) for message in messages]
    content = sum(MESSAGE_TOKENS + sum(token_upper_bound(text, vocabulary) for text in parts) for parts in texts)
    return REQUEST_TOKENS + content + sum(token_upper_bound(_json(tool), vocabulary) for tool in tools)


def prompt_lower_bound(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return a lower bound of a prompt's tokens."""
    return sum(sum(map(token_lower_bound, _texts(message))) for message in messages)


def _weight(kind: str, length: int, vocabulary: Vocabulary) -> float:
    match kind:
        case "upper":
            return max(1.0, length / 1.8)
        case "gap":
            return 0.25  # in most vocabularies part of the next token
        case "space":
            return 1 + length / 8
        case "latin":
            return vocabulary.latin
        case "middle":
            return vocabulary.middle
        case "hangul":
            return vocabulary.hangul
        case "wide":
            return vocabulary.wide
        case "rest":
            return 3.5
        case _:  # a digit, a punctuation character, a line break
            return 1.0


def _scaled(text: str, measure: Any) -> float:
    step = len(text) / SLICES
    slices = (text[int(number * step) : int(number * step) + SLICE] for number in range(SLICES))
    measured = [(len(part), measure(part)) for part in slices]
    return sum(tokens for _, tokens in measured) * len(text) / sum(length for length, _ in measured)


def _texts(message: Mapping[str, Any]) -> list[str]:
    """Return the texts of a message: its content or text parts, and its tool calls."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    calls = message.get("tool_calls")
    return [text for text in texts if isinstance(text, str)] + ([_json(calls)] if calls else [])


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=dict).decode()
    except orjson.JSONEncodeError:  # sending the request reports the error
        return ""
