"""Adjustments of requests to a model whose server refuses some parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kairos.llm.calls.strict_schema import strict_schema

OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Parameters for which servers use one of two names."""
LENGTH_NAMES = frozenset(OTHER_NAMES)
NAMES_KEPT = 32
"""Maximum number of dropped parameters per model; Kairos sends fewer."""
NAME_LENGTH = 64


class SchemaForm(StrEnum):
    """How a JSON schema is sent, from the most to the least demanding form."""

    STRICT = "strict"
    SCHEMA = "schema"
    OBJECT = "object"
    """`json_object`: JSON, without the schema."""
    NONE = "none"


FORMS = tuple(SchemaForm)


@dataclass(frozen=True, slots=True)
class Adjustments:
    """The changes to each request to a model. The default changes nothing."""

    dropped: frozenset[str] = frozenset()
    """Parameters that are not sent."""
    renamed: frozenset[str] = frozenset()
    """Parameters that are sent under their alternative name (`OTHER_NAMES`)."""
    schema_form: SchemaForm = SchemaForm.STRICT
    folds_system: bool = False
    """Whether the system message is sent at the beginning of the user message."""
    whole: bool = False
    """Whether the answer is requested without streaming."""
    answer_tokens: int | None = None
    """Maximum answer tokens that the server accepts."""

    def merged(self, other: Adjustments) -> Adjustments:
        """Merge two adjustments. Where they differ, the less demanding one wins."""
        limits = [limit for limit in (self.answer_tokens, other.answer_tokens) if limit is not None]
        return Adjustments(
            dropped=frozenset(sorted(self.dropped | other.dropped)[:NAMES_KEPT]),
            renamed=(self.renamed | other.renamed) & LENGTH_NAMES,
            schema_form=FORMS[max(FORMS.index(self.schema_form), FORMS.index(other.schema_form))],
            folds_system=self.folds_system or other.folds_system,
            whole=self.whole or other.whole,
            answer_tokens=min(limits, default=None),
        )

    def described(self) -> list[str]:
        """Return a description of each change for display."""
        lines = [f"{name} not sent" for name in sorted(self.dropped)]
        lines += [f"{name} sent as {OTHER_NAMES[name]}" for name in sorted(self.renamed - self.dropped)]
        lines += {
            SchemaForm.STRICT: [],
            SchemaForm.SCHEMA: ["JSON schemas sent without `strict`"],
            SchemaForm.OBJECT: ["JSON requested without the schema"],
            SchemaForm.NONE: ["response_format not sent"],
        }[self.schema_form]
        if self.folds_system:
            lines.append("system message sent within the user message")
        if self.whole:
            lines.append("answers not streamed")
        if self.answer_tokens is not None:
            lines.append(f"answers limited to {self.answer_tokens} tokens")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the adjustments as JSON values."""
        return {
            "dropped": sorted(self.dropped),
            "renamed": sorted(self.renamed),
            "schema_form": self.schema_form,
            "folds_system": self.folds_system,
            "whole": self.whole,
            "answer_tokens": self.answer_tokens,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Adjustments:
        """Parse the result of `to_dict`. Raises `ValueError`, `TypeError` or `KeyError` for anything else."""
        limit = value["answer_tokens"]
        return cls(
            dropped=frozenset(map(str, value["dropped"])),
            renamed=frozenset(map(str, value["renamed"])) & LENGTH_NAMES,
            schema_form=SchemaForm(value["schema_form"]),
            folds_system=bool(value["folds_system"]),
            whole=bool(value["whole"]),
            answer_tokens=None if limit is None else int(limit),
        )


UNADJUSTED = Adjustments()


def adjusted(body: Mapping[str, Any], changes: Adjustments) -> dict[str, Any]:
    """Apply the changes to a request body."""
    sent = {_name(key, changes): value for key, value in body.items() if key not in changes.dropped}
    for name in LENGTH_NAMES & set(sent):
        if changes.answer_tokens is not None and isinstance(sent[name], int):
            sent[name] = min(sent[name], changes.answer_tokens)
    if "response_format" in sent:
        sent["response_format"] = _format(sent["response_format"], changes.schema_form)
        if sent["response_format"] is None:
            del sent["response_format"]
    if changes.folds_system:
        sent["messages"] = _folded(sent["messages"])
    if changes.whole:
        sent["stream"] = False
        sent.pop("stream_options", None)
    return sent


def key_of(body: Mapping[str, Any], changes: Adjustments, sent_name: str) -> str | None:
    """Return the body's parameter that was sent under a name; None if there is none."""
    keys = (key for key in body if key not in changes.dropped and _name(key, changes) == sent_name)
    return next(keys, None)


def form_of(body: Mapping[str, Any], changes: Adjustments) -> SchemaForm:
    """Return the form in which the body's `response_format` is sent."""
    value = body.get("response_format")
    sent = _format(value, changes.schema_form) if isinstance(value, Mapping) else None
    if sent is None:
        return SchemaForm.NONE
    if sent.get("type") != "json_schema":
        return SchemaForm.OBJECT
    return SchemaForm.STRICT if sent["json_schema"].get("strict") else SchemaForm.SCHEMA


def wants_object(body: Mapping[str, Any]) -> bool:
    """Whether the schema of `response_format` describes an object; `json_object` supports nothing else."""
    schema = _schema(body.get("response_format"))
    return schema is not None and (schema.get("type") == "object" or isinstance(schema.get("properties"), Mapping))


def _name(key: str, changes: Adjustments) -> str:
    return OTHER_NAMES[key] if key in changes.renamed else key


def _schema(value: Any) -> Mapping[str, Any] | None:
    inner = value.get("json_schema") if isinstance(value, Mapping) else None
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def _format(value: Any, form: SchemaForm) -> Any:
    if form is SchemaForm.NONE:
        return None
    schema = _schema(value)
    if schema is None:
        return value
    if form is SchemaForm.OBJECT:
        return {"type": "json_object"}
    inner = {key: item for key, item in value["json_schema"].items() if key != "strict"}
    if form is SchemaForm.STRICT and value["json_schema"].get("strict"):
        strict = strict_schema(schema)
        if strict is not None:
            inner |= {"schema": strict, "strict": True}
    return {**value, "json_schema": inner}


def _folded(messages: Any) -> list[Any]:
    """Return the messages with all system messages merged into the first user message."""
    system = [message for message in messages if message.get("role") == "system"]
    rest = [dict(message) for message in messages if message.get("role") != "system"]
    texts = [message["content"] for message in system if isinstance(message.get("content"), str)]
    first = next((message for message in rest if message.get("role") == "user"), None)
    if first is None:
        return [{"role": "user", "content": "\n\n".join(texts)}, *rest]
    content = first.get("content")
    if isinstance(content, list):
        first["content"] = [*({"type": "text", "text": text} for text in texts), *content]
    else:
        first["content"] = "\n\n".join([*texts, str(content or "")])
    return rest


def without(changes: Adjustments, key: str) -> Adjustments:
    """Return the changes with one more dropped parameter."""
    return replace(changes, dropped=changes.dropped | {key}, renamed=changes.renamed - {key})
