"""Reads a server's refusal of a request for the parameter that it names, and says what to send instead.

The forms are those of OpenAI, Azure, vLLM, Mistral, Groq, Together, LM Studio, llama.cpp, Ollama, LiteLLM and Google;
`refused_limits.py` reads the numbers in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from kairos.llm.calls.adjustments import (
    FORMS,
    LENGTH_NAMES,
    NAME_LENGTH,
    NAMES_KEPT,
    OTHER_NAMES,
    Adjustments,
    SchemaForm,
    form_of,
    key_of,
    wants_object,
    without,
)
from kairos.llm.calls.refused_limits import allowed_answer, names_answer_limit, refused_context

KEPT = frozenset(
    {
        *("model", "messages", "stream", "tools", "tool_choice", "functions", "function_call", "n", "modalities"),
        *("prompt", "input"),
    }
)
"""What a request cannot do without: an answer to anything else would be another answer."""
TEXT_LENGTH = 8_000
UNSUPPORTED = re.compile(
    "|".join(
        (
            r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra[ _](?:inputs|fields|forbidden)",
            r"n[o']t (?:currently |yet )?(?:supported|available|allowed|permitted|recogni[sz]ed|accepted|implemented)",
            r"n[o']t (?:compatible|enabled|expected)|additional ?propert|cannot find field|deprecated|unavailable",
            r"forbidden|prohibited|no longer|incompatible|mutually exclusive|is invalid for|is not one of",
            r"invalid (?:parameter|param|argument|field|request argument|property)",
            r"not a valid (?:parameter|argument|field|property)|no such (?:field|param|argument)|must not be",
            r"cannot (?:both )?be (?:used|set|specified|combined|sent|both)|can't be (?:used|set)",
            r"does not (?:accept|allow|take|have|recogni[sz]e)",
            r"only (?:the default|be set|supports?|accepts?|allows?|1 )",
            r"must be (?:set to )?1(?:\.0)?\b|is enabled only|unsupportedparams",
        )
    ),
    re.IGNORECASE,
)
FORMAT = re.compile(
    r"response[_ ]?format|json[_ -]?schema|json[_ ]?object|structured[_ ]?outputs?|guided[_ ](?:json|decoding)|grammar"
    r"|\bschemas?\b|additionalproperties|json_validate_failed|json mode",
    re.IGNORECASE,
)
OF_THIS_SCHEMA = re.compile(
    r"invalid (?:json )?schema|in context=|additionalproperties|schema (?:must|is (?:invalid|too)|has|contains)|grammar"
    r"|must contain the word|json_validate_failed|failed to|keyword|'required'",
    re.IGNORECASE,
)
"""Words about the one schema that was sent, and not about what the server can do."""
SYSTEM = re.compile(
    r"system (?:role|message|prompt|instruction)s? (?:is |are )?(?:currently )?(?:not|un)[ -]?(?:supported|allowed"
    r"|enabled|permitted)|(?:does not|doesn't|not) support (?:the )?['\"`]?system|developer instruction is not enabled"
    r"|conversation roles must alternate|role ['\"`]?system['\"`]? is (?:not|un)",
    re.IGNORECASE,
)
STREAM = re.compile(
    r"verified to stream|stream(?:ing)? (?:mode |responses? )?(?:is |are )?(?:not|un)[ -]?(?:supported|available"
    r"|allowed|enabled)|not support(?: the)? ['\"`]?stream(?:ing)?\b(?!_)",
    re.IGNORECASE,
)
TEXT_FIELDS = ("message", "msg", "detail", "error", "errors", "type", "code", "param", "reason", "raw", "metadata")
"""Fields of an error's body that hold the server's own words."""
ECHO = re.compile(r"""(['"]input['"]: ).*?(?=, '(?:ctx|url|type|loc)'|\}\]|$)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ParameterRefusal:
    """What a server said of a request that it did not take."""

    status: int
    text: str
    """Its words, cut to a bounded length."""
    named: tuple[str, ...] = ()
    """Places that it names in fields of its own: `param`, `loc`."""

    @classmethod
    def of(cls, status: int, body: bytes, reason: str = "") -> ParameterRefusal:
        """From the body of an error; `reason` where there is no body."""
        text = body[: TEXT_LENGTH * 4].decode(errors="replace")[:TEXT_LENGTH] if body else reason[:TEXT_LENGTH]
        try:
            value = orjson.loads(body) if body else None
        except orjson.JSONDecodeError:
            value = None
        return cls(status, _messages(value) or text, tuple(_places(value)))

    @property
    def unsupported(self) -> bool:
        return bool(UNSUPPORTED.search(self.text))

    @property
    def readable(self) -> bool:
        """Whether its status is one that servers give for parameters. Some give 500 for a schema."""
        return self.status in (400, 415, 422, 501) or (
            self.status == 500 and bool(re.search("UnsupportedParams|grammar|json.?schema", self.text, re.IGNORECASE))
        )


@dataclass(frozen=True, slots=True)
class AdjustmentStep:
    """What to send instead."""

    changes: Adjustments
    permanent: bool
    """Whether it is about the model, and not about this one request."""


def next_adjustment(
    body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal, *, own_limit: bool = False
) -> AdjustmentStep | None:
    """The changes for another try, which take one thing more away; None where the refusal names nothing of the kind.

    `own_limit` says that the limit of the answer is Kairos' default: it is left out where nothing else helps.
    """
    if not refusal.readable:
        return None
    steps = [_without_system, _in_one_piece, _with_fewer_tokens, _with_less_format, _without_named]
    for step in [*steps, _without_limit] if own_limit else steps:
        if (found := step(body, changes, refusal)) is not None and found.changes != changes:
            return found
    return None


def _without_system(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> AdjustmentStep | None:
    if changes.folds_system or not any(message.get("role") == "system" for message in body.get("messages", ())):
        return None
    role = any(re.search(r"messages.*role", place) for place in refusal.named)
    if SYSTEM.search(refusal.text) or (role and "system" in refusal.text and refusal.unsupported):
        return AdjustmentStep(replace(changes, folds_system=True), permanent=True)
    return None


def _in_one_piece(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> AdjustmentStep | None:
    if changes.whole or not body.get("stream"):
        return None
    named = "stream" in map(_last, refusal.named) and refusal.unsupported
    return (
        AdjustmentStep(replace(changes, whole=True), permanent=True) if named or STREAM.search(refusal.text) else None
    )


def _with_fewer_tokens(
    body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal
) -> AdjustmentStep | None:
    """An answer limit above what the server allows is lowered to what it says that it allows."""
    key = _refused_limit(body, changes, refusal)
    if key is None or not isinstance(body[key], int):
        return None
    allowed = allowed_answer(refusal.text, below=min(body[key], changes.answer_tokens or body[key]))
    return AdjustmentStep(replace(changes, answer_tokens=allowed), permanent=True) if allowed else None


def _without_limit(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> AdjustmentStep | None:
    """This request without a limit. It is not remembered: another limit may be one that the server takes."""
    key = _refused_limit(body, changes, refusal)
    return AdjustmentStep(without(changes, key), permanent=False) if key else None


def _refused_limit(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> str | None:
    """The parameter that limits the answer, where the refusal is about it. Where prompt and answer together are too
    long, the context that the server names is what counts (`ModelCaller`)."""
    about = names_answer_limit("\n".join((refusal.text, *refusal.named))) and refused_context(refusal.text) is None
    return next((key for key in body if key in LENGTH_NAMES and key not in changes.dropped), None) if about else None


def _with_less_format(
    body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal
) -> AdjustmentStep | None:
    """A schema without `strict`, JSON without the schema, and at last neither."""
    sent = form_of(body, changes)
    if sent is SchemaForm.NONE or not (FORMAT.search(refusal.text) or _names_format(refusal)):
        return None
    other = [key for key in _named_keys(body, changes, refusal, quoted_only=True) if key != "response_format"]
    if other and not _names_format(refusal) and "response_format" not in refusal.text:
        return None
    less = _less(sent, "\n".join((refusal.text, *refusal.named)))
    if less is SchemaForm.OBJECT and not wants_object(body):
        less = SchemaForm.NONE
    permanent = refusal.unsupported and not OF_THIS_SCHEMA.search(refusal.text)
    return AdjustmentStep(replace(changes, schema_form=less), permanent)


def _names_format(refusal: ParameterRefusal) -> bool:
    return any("response_format" in place for place in refusal.named)


def _less(sent: SchemaForm, text: str) -> SchemaForm:
    if sent is SchemaForm.STRICT and re.search(r"strict|additionalproperties|required|in context=", text, re.I):
        return SchemaForm.SCHEMA
    if sent in (SchemaForm.STRICT, SchemaForm.SCHEMA) and re.search(
        r"schema|\btypes?\b|structured|grammar", text, re.I
    ):
        return SchemaForm.OBJECT
    return SchemaForm.NONE if sent is not SchemaForm.OBJECT else FORMS[FORMS.index(sent) + 1]


def _without_named(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> AdjustmentStep | None:
    """A parameter that is named as unsupported goes out under its other name, or not at all."""
    if not refusal.unsupported or len(changes.dropped) >= NAMES_KEPT:
        return None
    keys = _named_keys(body, changes, refusal)
    if not keys:
        return None
    key = "top_p" if {"top_p", "temperature"} <= set(keys) and "both" in refusal.text else keys[0]
    permanent = "both" not in refusal.text
    if key in OTHER_NAMES and key not in changes.renamed and OTHER_NAMES[key] not in body:
        return AdjustmentStep(replace(changes, renamed=changes.renamed | {key}), permanent)
    return AdjustmentStep(without(changes, key), permanent)


def _named_keys(
    body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal, *, quoted_only: bool = False
) -> list[str]:
    """Parameters of the body that the refusal names, the most certain first, without those that must be sent."""
    words: list[str] = []
    for place in refusal.named:
        parts = [part for part in re.split(r"[.\[\]]+", place) if part and part != "body"]
        if parts and parts[0] in KEPT:
            return []
        words += parts
    words += re.findall(r"""['"`‘“]([A-Za-z_][\w.]{1,63})['"`’”]""", refusal.text)
    if not quoted_only:
        words += re.findall(r"[A-Za-z_]\w{1,63}", refusal.text) if len(refusal.text) < 2_000 else []
    found: dict[str, None] = {}
    for word in words:
        name = _snake(word)
        key = key_of(body, changes, name) if len(name) <= NAME_LENGTH else None
        if key is not None and key not in KEPT:
            found[key] = None
    return list(found)


def _snake(word: str) -> str:
    """`streamOptions` and `body.stream_options` as the protocol writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _last(word)).lower()


def _last(place: str) -> str:
    return place.rpartition(".")[2]


def _messages(value: Any) -> str:
    """The messages in an error's body, joined; empty where it is no JSON object. What a server echoes of the request
    is left out: a prompt must not be read as a refusal."""
    texts: list[str] = []
    _collect(value, texts, 0)
    return "\n".join(texts)[:TEXT_LENGTH]


def _collect(value: Any, texts: list[str], depth: int) -> None:
    if depth > 5 or len(texts) > 50:
        return
    if isinstance(value, str) and depth:
        texts.append(_without_echo(value))
    elif isinstance(value, Mapping):
        for key in TEXT_FIELDS:
            _collect(value.get(key), texts, depth + 1)
    elif isinstance(value, list):
        for item in value[:20]:
            _collect(item, texts, depth + 1)


def _without_echo(text: str) -> str:
    """vLLM and Mistral give pydantic's errors as a text, with the input beside."""
    return ECHO.sub(r"\1…", text[:TEXT_LENGTH])


def _places(value: Any, depth: int = 0) -> Iterator[str]:
    """`param` and `loc` wherever an error's body has them, and in pydantic's errors written as text."""
    if depth > 5:
        return
    if isinstance(value, Mapping):
        if isinstance(value.get("param"), str):
            yield value["param"][:200]
        if isinstance(value.get("loc"), list):
            yield ".".join(str(part) for part in value["loc"][:8])[:200]
        for key in ("error", "message", "detail", "errors"):
            yield from _places(value.get(key), depth + 1)
    elif isinstance(value, list):
        for item in value[:20]:
            yield from _places(item, depth + 1)
    elif isinstance(value, str):
        for found in re.findall(r"""['"]loc['"]: [\[(]([^\])]{1,200})[\])]""", value[:TEXT_LENGTH]):
            yield ".".join(re.findall(r"""['"]([^'"]+)['"]""", found))
