"""Finish reasons of model servers, and their meaning.

Collected from vLLM, SGLang, llama.cpp, Ollama, TGI, LM Studio, OpenAI, Azure, Gemini, Vertex, Mistral, Groq, Cohere,
Anthropic, Bedrock, DeepSeek, DashScope, GLM, Together, xAI and watsonx. An unknown reason counts as a failure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """How an answer ended."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    """The token limit was reached."""
    WITHHELD = "withheld"
    """A filter of the server withheld the rest."""
    FAILED = "failed"
    """An error, an abort, or an unknown reason."""


STOP, TOOL_CALLS, LENGTH = "stop", "tool_calls", "length"
"""OpenAI's values, to which the others are normalised."""

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
"""Placeholders that servers send instead of null: Ollama "", DashScope "null", protobuf "…_UNSPECIFIED"."""
_PREFIXES = ("finishreason", "stopreason", "reason")
"""Prefixes of enumeration names: FinishReason.STOP, FINISH_REASON_STOP."""


def finish_reason_of(value: Any) -> str | None:
    """Return the finish reason in a server's value; None while the answer is unfinished. SGLang's own API sends an
    object."""
    if isinstance(value, dict):
        value = value.get("type")
    if value is None or value is False:
        return None
    return None if _key(str(value)) in _UNFINISHED else str(value)


def ending_of(reason: str) -> tuple[Ending, str]:
    """Return the meaning of a finish reason and its OpenAI equivalent, or the reason itself if there is none."""
    key = _key(reason)
    if key in _STOPS:
        return Ending.COMPLETE, STOP
    if key in _TOOLS:
        return Ending.COMPLETE, TOOL_CALLS
    if key in _LENGTHS:
        return Ending.TRUNCATED, LENGTH
    if key in _WITHHELD or key.startswith("contentfilter"):
        return Ending.WITHHELD, reason
    return Ending.FAILED, reason


def _key(reason: str) -> str:
    """Normalise a reason to its letters and digits: `MAX_TOKENS`, `max-tokens` and `maxTokens` are equal."""
    key = "".join(filter(str.isalnum, reason.lower()))
    for prefix in _PREFIXES:
        if key != prefix:
            key = key.removeprefix(prefix)
    return key
