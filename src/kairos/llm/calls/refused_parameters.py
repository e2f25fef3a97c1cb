"""Parses the refused parameter from a server's error, and determines how to change the request.

Supports the messages of OpenAI, Azure, vLLM, Mistral, Groq, Together, LM Studio, llama.cpp, Ollama, LiteLLM and Google;
`refused_limits.py` parses the numbers.
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

REQUIRED = frozenset(
    {
        *("model", "messages", "stream", "tools", "tool_choice", "functions", "function_call", "n", "modalities"),
        *("prompt", "input"),
    }
)
"""Parameters that are never dropped, because the answer would change."""
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
"""Messages about the schema in this request rather than the server's abilities."""
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
"""Fields of an error body that hold messages of the server."""
ECHO = re.compile(r"""(['"]input['"]: ).*?(?=, '(?:ctx|url|type|loc)'|\}\]|$)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ParameterRefusal:
    """A server's refusal of a request."""

    status: int
    text: str
    """The server's message, limited in length."""
    named: tuple[str, ...] = ()
    """Parameters named in separate fields: `param`, `loc`."""

    @classmethod
    def of(cls, status: int, body: bytes, reason: str = "") -> ParameterRefusal:
        """Parse an error body; `reason` is used if there is none."""
        text = body[: TEXT_LENGTH * 4].decode(errors="replace")[:TEXT_LENGTH] if body else reason[:TEXT_LENGTH]
        try:
            value = orjson.loads(body) if body else None
        except orjson.JSONDecodeError:
            value = None
        return cls(status, _messages(value) or text, tuple(_places(value)))

    def renamed(self, names: Mapping[str, str]) -> ParameterRefusal:
        """Return the refusal with the names that parameters have in the OpenAI form."""
        pattern = re.compile(rf"(?<![A-Za-z_])(?:{'|'.join(map(re.escape, names))})(?![A-Za-z_])")

        def translated(text: str) -> str:
            return pattern.sub(lambda found: names[found[0]], text)

        return replace(self, text=translated(self.text), named=tuple(map(translated, self.named)))

    @property
    def unsupported(self) -> bool:
        return bool(UNSUPPORTED.search(self.text))

    @property
    def readable(self) -> bool:
        """Whether the status is one that servers use for refused parameters. Some use 500 for a schema."""
        return self.status in (400, 415, 422, 501) or (
            self.status == 500 and bool(re.search("UnsupportedParams|grammar|json.?schema", self.text, re.IGNORECASE))
        )


@dataclass(frozen=True, slots=True)
class AdjustmentStep:
    """A change to the request."""

    changes: Adjustments
    permanent: bool
    """Whether it applies to all requests to the model, not only to this one."""


def next_adjustment(
    body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal, *, own_limit: bool = False
) -> AdjustmentStep | None:
    """Return the changes for the next attempt, which removes one more thing; None if the refusal names nothing
    removable.

    `own_limit`: the answer limit is Kairos' default, which is dropped if nothing else helps.
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
    """Lower the answer limit to the maximum that the server reports."""
    key = _refused_limit(body, changes, refusal)
    if key is None or not isinstance(body[key], int):
        return None
    allowed = allowed_answer(refusal.text, below=min(body[key], changes.answer_tokens or body[key]))
    return AdjustmentStep(replace(changes, answer_tokens=allowed), permanent=True) if allowed else None


def _without_limit(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> AdjustmentStep | None:
    """Drop the answer limit from this request only, because the server may accept another limit."""
    key = _refused_limit(body, changes, refusal)
    return AdjustmentStep(without(changes, key), permanent=False) if key else None


def _refused_limit(body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal) -> str | None:
    """Return the parameter of the answer limit if the refusal is about it. If prompt and answer together are too long,
    the reported context matters instead (`ModelCaller`)."""
    about = names_answer_limit("\n".join((refusal.text, *refusal.named))) and refused_context(refusal.text) is None
    return next((key for key in body if key in LENGTH_NAMES and key not in changes.dropped), None) if about else None


def _with_less_format(
    body: Mapping[str, Any], changes: Adjustments, refusal: ParameterRefusal
) -> AdjustmentStep | None:
    """Send the schema without `strict`, then JSON without a schema, then neither."""
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
    """Send an unsupported parameter under its alternative name, or drop it."""
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
    """Return the parameters in the body that the refusal names, most certain first, without those that must be sent."""
    names: list[str] = []
    for place in refusal.named:
        parts = [part for part in re.split(r"[.\[\]]+", place) if part and part != "body"]
        if parts and parts[0] in REQUIRED:
            return []
        names += parts
    names += re.findall(r"""['"`‘“]([A-Za-z_][\w.]{1,63})['"`’”]""", refusal.text)
    if not quoted_only:
        names += re.findall(r"[A-Za-z_]\w{1,63}", refusal.text) if len(refusal.text) < 2_000 else []
    found: dict[str, None] = {}
    for mentioned in names:
        name = _snake(mentioned)
        key = key_of(body, changes, name) if len(name) <= NAME_LENGTH else None
        if key is not None and key not in REQUIRED:
            found[key] = None
    return list(found)


def _snake(name: str) -> str:
    """Convert names such as `streamOptions` and `body.stream_options` to the protocol's form."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _last(name)).lower()


def _last(place: str) -> str:
    return place.rpartition(".")[2]


def _messages(value: Any) -> str:
    """Return the joined messages of an error body; empty if it is not a JSON object. Echoes of the request are removed,
    so that a prompt is not read as a refusal."""
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
    """Remove the input from pydantic errors, which vLLM and Mistral send as text."""
    return ECHO.sub(r"\1…", text[:TEXT_LENGTH])


def _places(value: Any, depth: int = 0) -> Iterator[str]:
    """Iterate over `param` and `loc` anywhere in an error body, including pydantic errors sent as text."""
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
