"""A model server that checks keys and records each request with its key and time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A recorded request. `at` is of `time.monotonic`."""

    at: float
    path: str
    key: str


@dataclass
class KeyedServer:
    """Answers every chat with `hello`, after `delay_s`, if the key is accepted then; otherwise with 401."""

    accepted: set[str] = field(default_factory=set)
    delay_s: float = 0.3
    requests: list[KeyedRequest] = field(default_factory=list)
    _runner: web.ServerRunner | None = None
    port: int = 0

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._respond, access_log=None))  # type: ignore[arg-type]
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def chat_keys(self) -> list[str]:
        """The keys of the chats, in order."""
        return [request.key for request in self.requests if request.path.endswith("/chat/completions")]

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append(KeyedRequest(time.monotonic(), request.path, key))
        await request.read()
        if not request.path.endswith("/chat/completions"):
            return web.json_response({"data": [{"id": "large"}]})
        await asyncio.sleep(self.delay_s)
        if key not in self.accepted:
            return web.json_response({"error": {"message": "this key is not valid"}}, status=401)
        return web.json_response(completion())


def completion() -> dict[str, Any]:
    message = {"role": "assistant", "content": "hello"}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }
