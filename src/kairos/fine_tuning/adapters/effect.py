"""Proves that an adapter has an effect, from answers with log-probabilities of base and adapter to the same prompts.

That a server accepts and lists an adapter proves nothing: vLLM answers 200 to, and lists, an adapter none of whose
modules match the model (vllm-project/vllm issues 34186 and 39278); its first versions did so for a wrong path. The
texts alone are no proof either: a batched server is not deterministic, so that two equally likely tokens can change
places at temperature 0, and a weak adapter can change probabilities without changing the first words. So the
log-probabilities of the same tokens in the same context are compared. Both answer twice, which measures the server's
own variation; the adapter must differ by several times that, and by a minimum.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROMPTS_TRIED = 4
"""An adapter without effect on this many training prompts is refused."""
NO_PROMPT = "Hello"
"""For an adapter whose training prompts were erased. It must answer, but no effect is required on this prompt."""
LEAST_DIFFERENCE = 0.3
"""In natural logarithms: a probability that changes by a factor of 1.35. On llama.cpp with 4-bit weights, a random
adapter at a scale of 0.001 changed 16 tokens by up to 0.11 (and one of two texts), at 0.01 by 0.21, at 0.1 by 0.74."""
NOISE_FACTOR = 4.0


@dataclass(frozen=True, slots=True)
class EffectProbe:
    """The result of probing an adapter."""

    problem: str | None
    again_at: float = math.inf
    """Clock time in seconds from which the probe is repeated."""


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token and its most likely alternatives, with natural log-probabilities."""

    text: str
    logprob: float
    likeliest: Mapping[str, float]

    def logprob_of(self, text: str) -> float:
        """Return a token's log-probability here. One that is not listed has at most the lowest listed value."""
        if text == self.text:
            return self.logprob
        return self.likeliest.get(text, min([self.logprob, *self.likeliest.values()]))


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """The beginning of an answer at temperature 0."""

    text: str
    tokens: tuple[Token, ...] = ()
    """Empty if the server gives no log-probabilities."""


Ask = Callable[[str], Awaitable[ProbeAnswer]]


async def has_effect(base: Ask, adapted: Ask, prompts: Sequence[str]) -> bool:
    """Return whether the adapter answers one of the prompts differently from its base. Without prompts, it only has to
    answer. Raises what the calls raise."""
    if not prompts:
        await adapted(NO_PROMPT)
        return True
    for prompt in prompts[:PROMPTS_TRIED]:
        # In turns, as the load of a shared server changes over time.
        plain, changed = await base(prompt), await adapted(prompt)
        plain_again, changed_again = await base(prompt), await adapted(prompt)
        noise = max(difference(plain, plain_again), difference(changed, changed_again))
        effect = min(difference(plain, changed), difference(plain_again, changed_again))
        if effect > max(LEAST_DIFFERENCE, NOISE_FACTOR * noise):
            return True
    return False


def difference(one: ProbeAnswer, other: ProbeAnswer) -> float:
    """Return the largest difference of a token's log-probability in the same context.

    Contexts are the same up to the first different token. Without log-probabilities, different texts differ infinitely.
    """
    if not one.tokens or not other.tokens:
        return 0.0 if one.text == other.text else math.inf
    largest = 0.0
    for a, b in zip(one.tokens, other.tokens, strict=False):
        largest = max(largest, *(abs(a.logprob_of(text) - b.logprob_of(text)) for text in (a.text, b.text)))
        if a.text != b.text:
            return largest
    # The end of an answer is a token too, but servers do not list it.
    return largest if len(one.tokens) == len(other.tokens) else math.inf


def parsed_answer(completion: Any) -> ProbeAnswer:
    """Return the answer in a chat completion of the OpenAI protocol. Raises `ValueError`."""
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        text = f"{message.get('reasoning_content') or ''}{message.get('content') or ''}"
        listed = (choice.get("logprobs") or {}).get("content") or []
        return ProbeAnswer(text, tuple(_token(one) for one in listed))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("not a chat completion") from error


def _token(listed: Mapping[str, Any]) -> Token:
    alternatives = {str(one["token"]): float(one["logprob"]) for one in listed.get("top_logprobs") or ()}
    return Token(str(listed["token"]), float(listed["logprob"]), alternatives)
