"""Parts of an answer, as the parser of each protocol returns them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kairos.llm.answers.usage import Usage


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """One part of an answer; the builder appends its texts to those before."""

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """Fragments in the OpenAI form: `index`, `id`, and `function` with `name` and `arguments`."""
    thinking_blocks: Sequence[Mapping[str, Any]] = ()
    """Complete blocks of reasoning with their signatures, which the server needs back in the next request."""
    finish_reason: str | None = None
    """As sent by the server."""
    usage: Usage | None = None
    """The counts so far; they replace earlier ones."""
    model: str | None = None
    """The model's name, as sent by the server."""
    load_s: float = 0.0
    """Seconds for which the server loaded the model before it answered."""
    done: bool = False
    """Whether the answer is complete and nothing follows."""


class AnswerParser(Protocol):
    """Converts the JSON objects of one answer, streamed or whole, to parts. Each answer has a parser of its own."""

    def parts(self, value: Mapping[str, Any]) -> Iterable[AnswerPart]:
        """Return the parts that an object contains. Unknown objects contain none.

        Raises an `AnswerFault`: `ReportedError` for an error that the server reports, `InvalidAnswer` for an object
        that does not follow the protocol.
        """
        ...
