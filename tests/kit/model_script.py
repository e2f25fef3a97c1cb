"""What the scripted model server plays: models with an answer, a speed and a quality, and the faults they can have.

Part of the test kit. Everything but callables can also be written as JSON, for a server in a process of its own.
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
    """What a scripted model sees of a request."""

    model: str
    body: Mapping[str, Any]
    number: int
    """How many requests this model had answered before."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.body.get("messages") or ()

    @property
    def text(self) -> str:
        """The last message of the user."""
        said = [message.get("content") for message in self.messages if message.get("role") == "user"]
        return str(said[-1] or "") if said else ""


@dataclass(frozen=True, slots=True)
class Quality:
    """A good answer with a probability, else a bad one: the same draw for the same seed, model and request number."""

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
"""Text; answers by a substring of the prompt ("" for any); answers in turn, the last one again and again; by
probability; or what a function makes of the prompt, which may wait for something first."""


async def resolve(answer: Answer, prompt: Prompt) -> str:
    """The text that an answer comes to for a prompt."""
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
    """None sends all of the answer at once."""
    usage: bool | tuple[int, int] = True
    """Counted in words; or (input, output) as given; or left out."""
    streams: bool = True
    """False: it answers with one JSON object whatever it is asked for, as some servers do."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    api_key: str | None = None
    """The only key it takes; None takes any and none."""
    refuses: Callable[[Mapping[str, Any]], tuple[int, Any] | None] | None = None
    """Gives status and JSON body for a request that its server refuses, None for one that it takes."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        fields = dict(value)
        if "answer" in fields:
            fields["answer"] = _answer_from_json(fields["answer"])
        if isinstance(fields.get("usage"), list):
            fields["usage"] = tuple(fields["usage"])
        return cls(**fields)


class FaultKind(StrEnum):
    """What can go wrong with a request."""

    HANG = "hang"
    """No byte ever comes; `after_tokens` set, none comes after those."""
    DISCONNECT = "disconnect"
    """The connection is closed without an answer; `after_tokens` set, in the middle of the stream. A client that used
    the connection before may rightly try once more on a new one, which is a second request here."""
    STATUS = "status"
    """An error status, with `retry_after` and `body`."""
    GARBAGE_BODY = "garbage_body"
    """Status 200 and a page of HTML, or `body`."""
    GARBAGE_EVENTS = "garbage_events"
    """A stream of events whose data is not JSON."""
    ERROR_IN_STREAM = "error_in_stream"
    """An error object as an event, with `status` as its code, after `after_tokens`."""
    NO_END = "no_end"
    """A stream that closes in good order, but without finish reason and [DONE], after `after_tokens`."""
    NO_USAGE = "no_usage"
    NO_CHOICES = "no_choices"
    DRIP = "drip"
    """Every byte is sent alone."""
    WRONG_TYPE = "wrong_type"
    """A good body called `text/plain`."""


@dataclass(slots=True)
class Fault:
    """A fault of a model, for the next `requests`, or for `for_s` seconds, or until it is healed."""

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
    """Words with the space before them: what this kit calls tokens."""
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
