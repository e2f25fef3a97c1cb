"""Answers of the scripted vLLM and llama.cpp in the OpenAI protocol: whole or streamed, with log-probabilities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.kit.breakable_server import stream_lines

LIKELY, UNLIKELY = -0.1, -3.0


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """An answer of words, each a token. `shift` is added to the log-probability of every token."""

    model: str
    text: str
    shift: float = 0.0

    async def send(self, request: web.Request, wanted: Mapping[str, Any]) -> web.StreamResponse:
        """Answer a chat request."""
        words = self.text.split(" ")[: wanted.get("max_tokens") or None]
        tokens = [word if place == 0 else f" {word}" for place, word in enumerate(words)]
        usage = {"prompt_tokens": 1, "completion_tokens": len(tokens), "total_tokens": 1 + len(tokens)}
        head = {"id": "chatcmpl-1", "created": 0, "model": self.model}
        if not wanted.get("stream"):
            choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
            choice["message"] = {"role": "assistant", "content": "".join(tokens)}
            choice["logprobs"] = {"content": list(map(self._listed, tokens))} if wanted.get("logprobs") else None
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        deltas = [({"content": token}, None) for token in tokens] + [({}, "stop")]
        chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": end}]} for d, end in deltas]
        chunks.append({**head, "choices": [], "usage": usage})
        lines = [f"data: {json.dumps({'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
        return await stream_lines(request, "text/event-stream", [*lines, "data: [DONE]\n\n"])

    def _listed(self, token: str) -> dict[str, Any]:
        likely = {"token": token, "logprob": LIKELY + self.shift}
        return {**likely, "top_logprobs": [likely, {"token": "<other>", "logprob": UNLIKELY}]}
