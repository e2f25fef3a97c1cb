"""Finish reasons: the words with which servers end an answer, and which of them end it well.

Collected from vLLM, SGLang, llama.cpp, Ollama, TGI, LM Studio, OpenAI, Azure, Gemini, Vertex, Mistral, Groq, Cohere,
Anthropic, Bedrock, DeepSeek, DashScope, GLM, Together, xAI and watsonx. A word that is not listed ends nothing well.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """How an answer ended."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    """At the limit of tokens: all that was allowed is there."""
    WITHHELD = "withheld"
    """By a filter of the server, which keeps the rest back."""
    FAILED = "failed"
    """By an error, an abort, or for a reason that is not known."""


STOP, TOOL_CALLS, LENGTH = "stop", "tool_calls", "length"
"""OpenAI's own words, which the others are translated into."""

_STOPS = frozenset(
    [
        "stop",
        "stopped",
        "stopsequence",
        "stopword",
        "endturn",
        "endofturn",
        "eos",
        "eostoken",
        "eosfound",
        "complete",
        "completed",
        "end",
        "done",
    ]
)
_TOOLS = frozenset(["toolcalls", "toolcall", "tooluse", "functioncall", "functioncalls"])
_LENGTHS = frozenset(
    [
        "length",
        "maxtokens",
        "maxtoken",
        "maxlength",
        "maxlen",
        "maxnewtokens",
        "maxoutputtokens",
        "modellength",
        "maxcompletiontokens",
        "tokenlimit",
        "maxpredictedtokensreached",
        "contextlengthreached",
        "errorlimit",
        "modelcontextwindowexceeded",
    ]
)
_WITHHELD = frozenset(
    [
        "safety",
        "recitation",
        "blocklist",
        "prohibitedcontent",
        "spii",
        "language",
        "imagesafety",
        "sensitive",
        "refusal",
        "errortoxic",
        "guardrailintervened",
        "contentfiltered",
        "modelarmor",
        "blocked",
    ]
)
_UNFINISHED = frozenset(["", "null", "none", "nil", "undefined", "unspecified", "notfinished", "inprogress"])
"""What servers write where the protocol has null: Ollama "", DashScope "null", protobuf "…_UNSPECIFIED"."""
_PREFIXES = ("finishreason", "stopreason", "reason")
"""Of names of an enumeration: FinishReason.STOP, FINISH_REASON_STOP."""


def finish_word(value: Any) -> str | None:
    """A finish reason as a server gave it; None where the answer goes on. SGLang's own API has an object for it."""
    if isinstance(value, dict):
        value = value.get("type")
    if value is None or value is False:
        return None
    return None if _key(str(value)) in _UNFINISHED else str(value)


def ending_of(word: str) -> tuple[Ending, str]:
    """What a reason means, and OpenAI's word for it; the word itself where it has none."""
    key = _key(word)
    if key in _STOPS:
        return Ending.COMPLETE, STOP
    if key in _TOOLS:
        return Ending.COMPLETE, TOOL_CALLS
    if key in _LENGTHS:
        return Ending.TRUNCATED, LENGTH
    if key in _WITHHELD or key.startswith("contentfilter"):
        return Ending.WITHHELD, word
    return Ending.FAILED, word


def _key(word: str) -> str:
    """The letters alone: `MAX_TOKENS`, `max-tokens` and `maxTokens` are one reason."""
    key = "".join(filter(str.isalnum, word.lower()))
    for prefix in _PREFIXES:
        if key != prefix:
            key = key.removeprefix(prefix)
    return key
