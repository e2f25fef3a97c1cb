"""A cached answer: a completion, with the cost of the original call."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from kairos.llm.answers.answer import Completion, Usage

COMPRESSED_FROM = 1024
"""Bytes. Below this size, zlib saves less than the entry's overhead."""
LEVEL = 1
"""The zlib compression level."""
PLAIN, ZLIB = b"j", b"z"


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A model's approved answer."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    model: str
    """The model's name in the catalogue."""
    cost_usd: float | None
    duration_s: float
    decision_id: UUID
    """The routing decision of the original call."""
    served_by: str | None = None
    """The model name reported by the server."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = ""
    """The model's reasoning."""

    @classmethod
    def of(cls, completion: Completion, *, model: str, cost_usd: float | None, decision_id: UUID) -> CachedAnswer:
        """Create an entry from a completion."""
        return cls(
            text=completion.text,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            model=model,
            cost_usd=cost_usd,
            duration_s=completion.duration_s,
            decision_id=decision_id,
            served_by=completion.model,
            tool_calls=completion.tool_calls,
            reasoning=completion.reasoning,
        )

    def completion(self) -> Completion:
        """Return the completion, with a duration of 0. Its usage is what was saved, not spent."""
        return Completion(
            self.text, self.finish_reason, self.usage, None, 0.0, self.served_by, self.tool_calls, self.reasoning
        )

    def pack(self) -> bytes:
        """Encode the answer for Redis."""
        usage = (self.usage.input_tokens, self.usage.output_tokens) if self.usage else None
        fields = [
            self.text,
            self.finish_reason,
            usage,
            self.model,
            self.cost_usd,
            self.duration_s,
            self.decision_id,
            self.served_by,
            self.tool_calls,
            self.reasoning,
        ]
        packed = orjson.dumps(fields, default=dict)
        return PLAIN + packed if len(packed) < COMPRESSED_FROM else ZLIB + zlib.compress(packed, LEVEL)

    @classmethod
    def unpack(cls, packed: bytes) -> CachedAnswer:
        """Decode a packed answer. Raises `ValueError` for anything else."""
        try:
            fields = orjson.loads(zlib.decompress(packed[1:]) if packed[:1] == ZLIB else packed[1:])
            text, finish_reason, usage, model, cost_usd, duration_s, decision_id, served_by, tool_calls, reasoning = (
                fields
            )
            counted = Usage(*usage) if usage else None
            return cls(
                text,
                finish_reason,
                counted,
                model,
                cost_usd,
                duration_s,
                UUID(decision_id),
                served_by,
                tuple(tool_calls),
                reasoning,
            )
        except (zlib.error, TypeError) as error:
            raise ValueError(f"not a packed answer: {error}") from error
