"""An imitation of Ollama over real HTTP, with the observed behaviour of the real one.

async with OllamaServer() as ollama:
    ollama.store.add_base("smol", base_file())
    ... call ollama.address, or ollama.base_url with the OpenAI protocol ...
    await ollama.close_port(); await ollama.open_port(); await ollama.restart()
    ollama.fail("/api/create", 500, "no space left on device")
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from tests.kit.ollama_store import OllamaError, OllamaStore, sha256

NS = 1_000_000_000


class OllamaServer:
    """One Ollama. The contents of its `store` can be changed at any time."""

    def __init__(self, load_s: float = 0.0) -> None:
        self.store = OllamaStore(load_s)
        self.calls: Counter[str] = Counter()
        """Counts by method and path, blobs without their digest: `POST /api/create`."""
        self.chats: list[dict[str, Any]] = []
        self.port = 0
        self.includes_modelfile = True
        """Whether answers of `/api/show` include the Modelfile."""
        self._faults: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._drops: set[str] = set()
        self._go = asyncio.Event()
        self._go.set()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def __aenter__(self) -> Self:
        # handler_cancellation: a client that disconnects ends the generation.
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.open_port()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner:
            await self.close_port()
            await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def fail(self, path: str, status: int, message: str, times: int = 1) -> None:
        """Answer the next `times` calls of a path with this error."""
        self._faults[path] += [(status, message)] * times

    def drop(self, call: str) -> None:
        """Break the connection of the next such call (a key of `calls`), like a server that crashes."""
        self._drops.add(call)

    def hold(self) -> None:
        """Hold all answers until `release`."""
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    async def close_port(self) -> None:
        """Close the port and every connection, like a killed process."""
        if self._site:
            await self._site.stop()
            self._site = None
        server = self._runner.server if self._runner else None
        for connection in server.connections if server else ():
            if connection.transport:
                connection.transport.abort()

    async def open_port(self) -> None:
        """Open the port again, with the same number."""
        assert self._runner
        if self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
            await self._site.start()
            self.port = self._runner.addresses[-1][1]

    async def restart(self) -> None:
        """Restart the server, which clears its memory."""
        await self.close_port()
        self.store.restart()
        await self.open_port()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[self._watched])
        app.add_routes(
            [
                web.head("/api/blobs/{digest}", self._has_blob),
                web.post("/api/blobs/{digest}", self._put_blob),
                web.post("/api/create", self._create),
                web.post("/api/copy", self._copy),
                web.delete("/api/delete", self._delete),
                web.get("/api/tags", self._tags),
                web.post("/api/show", self._show),
                web.post("/api/chat", self._chat),
                web.post("/v1/chat/completions", self._completion),
                web.get("/v1/models", self._models),
            ]
        )
        return app

    @web.middleware
    async def _watched(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        path = "/api/blobs" if request.path.startswith("/api/blobs/") else request.path
        call = f"{request.method} {path}"
        self.calls[call] += 1
        if call in self._drops and request.transport:
            self._drops.remove(call)
            request.transport.abort()
        try:
            if self._faults[path]:
                raise OllamaError(*self._faults[path].pop(0))
            return await handler(request)
        except OllamaError as error:
            return web.json_response({"error": str(error)}, status=error.status)

    async def _has_blob(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if _digest(request) in self.store.blobs else 404)

    async def _put_blob(self, request: web.Request) -> web.Response:
        """Store a blob. If it exists, answer without reading the body, and close the connection."""
        if _digest(request) in self.store.blobs:
            response = web.Response(status=200)
            response.force_close()
            return response
        content = await request.read()
        if sha256(content) != _digest(request):
            raise OllamaError(400, "digest does not match")
        self.store.put(content)
        return web.Response(status=201)

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        files, adapters = wanted.get("files", {}), wanted.get("adapters", {})
        self.store.create(wanted["model"], wanted.get("from"), files, adapters)
        return web.json_response({"status": "success"})

    async def _copy(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self.store.copy(wanted["source"], wanted["destination"])
        return web.Response()

    async def _delete(self, request: web.Request) -> web.Response:
        self.store.delete((await request.json())["model"])
        return web.Response()

    async def _tags(self, request: web.Request) -> web.Response:
        models = self.store.models.items()
        listed = [{"name": name, "model": name, "digest": manifest.digest} for name, manifest in models]
        return web.json_response({"models": listed})

    async def _show(self, request: web.Request) -> web.Response:
        manifest = self.store.find((await request.json())["model"])
        lines = [f"FROM /root/.ollama/models/blobs/sha256-{manifest.base}"]
        lines += [f"ADAPTER /root/.ollama/models/blobs/sha256-{digest}" for digest in manifest.adapters]
        modelfile = {"modelfile": "\n".join(lines)} if self.includes_modelfile else {}
        return web.json_response({"details": {"family": self.store.family(manifest)}, **modelfile})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        """Answer in Ollama's own protocol: a line of JSON for each token, or one object; durations in ns."""
        wanted = await request.json()
        self.chats.append(wanted)
        name, prompt = wanted["model"], wanted["messages"][-1]["content"]
        async with self.store.loaded(name, wanted.get("options", {})) as load_s:
            await self._go.wait()
            tokens = self.store.answer(name, prompt).split(" ")
            end = {"model": name, "done": True, "load_duration": int(load_s * NS), "eval_count": len(tokens)}
            end["prompt_eval_count"] = len(prompt.split())
            if wanted.get("stream", True) is False:
                return web.json_response({**end, "message": {"role": "assistant", "content": " ".join(tokens)}})
            pieces = [{"model": name, "message": {"content": token}, "done": False} for token in _spaced(tokens)]
            return await _stream(
                request, "application/x-ndjson", [json.dumps(piece) + "\n" for piece in [*pieces, end]]
            )

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        """Answer in the OpenAI protocol; streams include usage only if `include_usage` is set."""
        wanted = await request.json()
        self.chats.append(wanted)
        name, prompt = wanted["model"], wanted["messages"][-1]["content"]
        async with self.store.loaded(name, {}):
            await self._go.wait()
            tokens = self.store.answer(name, prompt).split(" ")
            count = len(prompt.split())
            usage = {"prompt_tokens": count, "completion_tokens": len(tokens), "total_tokens": count + len(tokens)}
            head = {"id": "chatcmpl-1", "created": 0, "model": name}
            if not wanted.get("stream"):
                message = {"role": "assistant", "content": " ".join(tokens)}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            deltas = [({"content": token}, None) for token in _spaced(tokens)] + [({}, "stop")]
            chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": end}]} for d, end in deltas]
            if wanted.get("stream_options", {}).get("include_usage"):
                chunks.append({**head, "choices": [], "usage": usage})
            lines = [f"data: {json.dumps({'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
            return await _stream(request, "text/event-stream", [*lines, "data: [DONE]\n\n"])

    async def _models(self, request: web.Request) -> web.Response:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "library"} for name in self.store.models]
        return web.json_response({"object": "list", "data": listed})


def _digest(request: web.Request) -> str:
    return request.match_info["digest"].removeprefix("sha256:")


def _spaced(tokens: list[str]) -> list[str]:
    return [token if place == 0 else f" {token}" for place, token in enumerate(tokens)]


async def _stream(request: web.Request, content_type: str, lines: list[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    for line in lines:
        await response.write(line.encode())
    await response.write_eof()
    return response
