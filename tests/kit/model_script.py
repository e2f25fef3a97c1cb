"""The scripts of the scripted model server: models with answers, speed and quality, and their faults.

Everything except callables can also be given as JSON, to a server in another process.
"""

from __future__ import annotations

import inspect
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeAlias


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as a scripted model sees it."""

    model: str
    body: Mapping[str, Any]
    number: int
    """The number of requests that this model answered before."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.body.get("messages") or ()

    @property
    def text(self) -> str:
        """The last message of the user."""
        contents = [message.get("content") for message in self.messages if message.get("role") == "user"]
        return str(contents[-1] or "") if contents else ""


@dataclass(frozen=True, slots=True)
class Quality:
    """Gives a good answer with a probability, else a bad one. Depends only on seed, model and request number."""

    probability: float
    good: Answer = "good"
    bad: Answer = "bad"
    seed: int = 0

    def draw(self, prompt: Prompt) -> Answer:
        chance = random.Random(f"{self.seed}:{prompt.model}:{prompt.number}").random()
        return self.good if chance < self.probability else self.bad


Answer: TypeAlias = (
    str | Mapping[str, "Answer"] | Sequence["Answer"] | Quality | Callable[[Prompt], "Answer | Awaitable[Answer]"]
)
"""A text; answers by a substring of the prompt ("" matches any); a list used in order, whose last item repeats; a
choice by probability; or a function of the prompt, which may be a coroutine function."""


async def resolve(answer: Answer, prompt: Prompt) -> str:
    """Return the text of an answer for a prompt."""
    while not isinstance(answer, str):
        if isinstance(answer, Quality):
            answer = answer.draw(prompt)
        elif isinstance(answer, Mapping):
            answer = next((value for part, value in answer.items() if part in prompt.text), "")
        elif isinstance(answer, Sequence):
            answer = answer[min(prompt.number, len(answer) - 1)]
        else:
            made = answer(prompt)
            answer = await made if inspect.isawaitable(made) else made
    return answer


@dataclass(slots=True)
class ScriptedModel:
    """One model of the server."""

    name: str
    answer: Answer = "Hello from the script."
    reasoning: str = ""
    """Sent before the answer, as `reasoning_content`."""
    first_token_s: float = 0.0
    tokens_per_s: float | None = None
    """None: the whole answer is sent at once."""
    usage: bool | tuple[int, int] = True
    """True: counted in whitespace-separated tokens; a tuple: (input, output); False: left out."""
    streams: bool = True
    """False: answers with one JSON object even if a stream is requested, as some servers do."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    api_key: str | None = None
    """The only accepted key. None: any key, or none, is accepted."""
    refuses: Callable[[Mapping[str, Any]], tuple[int, Any] | None] | None = None
    """Returns status and JSON body for a request that the server refuses, None for one that it accepts."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        fields = dict(value)
        if "answer" in fields:
            fields["answer"] = _answer_from_json(fields["answer"])
        if isinstance(fields.get("usage"), list):
            fields["usage"] = tuple(fields["usage"])
        return cls(**fields)


class FaultKind(StrEnum):
    """The ways in which a request can fail."""

    HANG = "hang"
    """Nothing is sent, or nothing after `after_tokens`."""
    DISCONNECT = "disconnect"
    """The connection is closed without an answer, or in the stream after `after_tokens`. A client that reused the
    connection may rightly retry on a new one, which counts as a second request."""
    STATUS = "status"
    """An error status, with `retry_after` and `body`."""
    GARBAGE_BODY = "garbage_body"
    """Status 200 with a page of HTML, or with `body`."""
    GARBAGE_EVENTS = "garbage_events"
    """A stream of events whose data is not JSON."""
    ERROR_IN_STREAM = "error_in_stream"
    """An error object as an event, with `status` as its code, after `after_tokens`."""
    NO_END = "no_end"
    """A stream that closes properly after `after_tokens`, but without finish reason and [DONE]."""
    NO_USAGE = "no_usage"
    NO_CHOICES = "no_choices"
    DRIP = "drip"
    """Every byte is sent separately."""
    WRONG_TYPE = "wrong_type"
    """A valid body with the content type `text/plain`."""


@dataclass(slots=True)
class Fault:
    """A fault of a model, for the next `requests`, or for `for_s` seconds, or until it is cleared."""

    kind: FaultKind
    status: int = 500
    body: str | None = None
    retry_after: str | None = None
    after_tokens: int | None = None
    requests: int | None = None
    for_s: float | None = None
    set_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.kind = FaultKind(self.kind)

    def over(self) -> bool:
        return self.requests == 0 or (self.for_s is not None and time.monotonic() > self.set_at + self.for_s)

    def consume(self) -> Self:
        """Use it for one request."""
        if self.requests is not None:
            self.requests -= 1
        return self


def tokens_of(text: str) -> list[str]:
    """Split a text into tokens: runs of characters with the space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


def _answer_from_json(value: Any) -> Answer:
    if isinstance(value, Mapping) and "probability" in value:
        good, bad = (_answer_from_json(value.get(name, name)) for name in ("good", "bad"))
        return Quality(value["probability"], good, bad, value.get("seed", 0))
    if isinstance(value, Mapping):
        return {part: _answer_from_json(item) for part, item in value.items()}
    if isinstance(value, list):
        return [_answer_from_json(item) for item in value]
    return str(value)
