"""An approved answer as the cache keeps it: all that a `Completion` is made of, and what it cost the first time."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from kairos.llm.answers.answer import Completion, Usage

COMPRESSED_FROM = 1024
"""Bytes. Below, zlib saves less than the entry's own overhead."""
LEVEL = 1
"""Of zlib."""
PLAIN, ZLIB = b"j", b"z"


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What a model once answered."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    model: str
    """Its name in the catalogue."""
    cost_usd: float | None
    duration_s: float
    decision_id: UUID
    """The routing decision it came from."""
    served_by: str | None = None
    """What the server said answered."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = ""
    """What the model wrote before its answer."""

    @classmethod
    def of(cls, completion: Completion, *, model: str, cost_usd: float | None, decision_id: UUID) -> CachedAnswer:
        """A model's completion, ready to be stored."""
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
        """The completion it was, made in no time. Its usage is what was saved, not what was spent."""
        return Completion(
            self.text, self.finish_reason, self.usage, None, 0.0, self.served_by, self.tool_calls, self.reasoning
        )

    def pack(self) -> bytes:
        """Bytes for Redis."""
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
        """The answer that was packed. Raises `ValueError` for anything else."""
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
            raise ValueError(f"no packed answer: {error}") from error
