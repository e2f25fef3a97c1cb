"""Short answers with log-probabilities from a server of the OpenAI protocol, for probing adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kairos.fine_tuning.adapters.effect import ProbeAnswer, parsed_answer
from kairos.http import HttpClient, HttpGarbled, HttpLimits, HttpStatus, excerpt, joined, plain_address

LIMITS = HttpLimits(first_byte_s=120.0, idle_s=120.0, total_s=120.0)
"""Includes waiting for a free place in the server's batch."""
TOKENS = 16
LIKELIEST = 5
BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class ChatProbe:
    """A model server. Its calls raise the `HttpError`s of `HttpClient`."""

    http: HttpClient
    base_url: str
    token: str | None = None

    async def answer(self, model: str, prompt: str, body: Mapping[str, Any]) -> ProbeAnswer:
        """Return the first tokens of the answer at temperature 0; `body` contains extra fields of the request."""
        request = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "seed": 1,
            "max_tokens": TOKENS,
            **body,
        }
        try:
            return await self._sent({**request, "logprobs": True, "top_logprobs": LIKELIEST})
        except HttpStatus as error:
            if error.http_status != BAD_REQUEST or "logprob" not in error.reason.lower():
                raise
            return await self._sent(request)  # the operator limits or disables them

    async def _sent(self, request: Mapping[str, Any]) -> ProbeAnswer:
        url = joined(self.base_url, "chat/completions")
        completion = await self.http.post_json(url, request, token=self.token, limits=LIMITS)
        try:
            return parsed_answer(completion)
        except ValueError as error:
            text = excerpt(orjson.dumps(completion))
            raise HttpGarbled(address=plain_address(url), expected="a chat completion", excerpt=text) from error
