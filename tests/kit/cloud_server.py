"""A scripted cloud provider: it lists and answers only with its key, and records the keys that it received."""

from __future__ import annotations

from aiohttp import web

from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.model_stream import error_body


class CloudServer(ModelServer):
    """Requires `key` for the list of models and for chats."""

    def __init__(self, key: str, *names: str) -> None:
        super().__init__(*(ScriptedModel(name, answer=f"Hello from {name}.", api_key=key) for name in names))
        self.key = key
        self.listing_keys: list[str] = []

    async def _list(self, request: web.Request) -> web.Response:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.listing_keys.append(key)
        if key != self.key:
            return error_body(401, f"Incorrect API key provided: {key}", "invalid_request_error")
        return await super()._list(request)
