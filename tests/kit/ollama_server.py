"""An imitation of Ollama over real HTTP, with the observed behaviour of the real one.

async with OllamaServer() as ollama:
    ollama.store.add_base("smol", base_file())
    ... call ollama.address, or ollama.base_url with the OpenAI protocol ...
    await ollama.close_port(); await ollama.open_port(); await ollama.restart()
    ollama.fail("/api/create", 500, "no space left on device")
    ollama.scripts["tiny"] = [*layer(0, 100), HOLD, *layer(100, 100), SUCCESS]  # the answers of /api/pull
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from tests.kit.breakable_server import BreakableServer, ServerFault, stream_lines
from tests.kit.ollama_pulls import HOLD, LOST, SUCCESS, UNKNOWN_MODEL, line
from tests.kit.ollama_store import OllamaStore, base_file, sha256

NS = 1_000_000_000


class OllamaServer(BreakableServer):
    """One Ollama. The contents of its `store` can be changed at any time. Blobs are counted without their digest."""

    def __init__(self, load_s: float = 0.0) -> None:
        super().__init__()
        self.store = OllamaStore(load_s)
        self.chats: list[dict[str, Any]] = []
        self.includes_modelfile = True
        """Whether answers of `/api/show` include the Modelfile."""
        self.scripts: dict[str, Sequence[object]] = {}
        """The answers of `/api/pull` by model; see `ollama_pulls`. Other models are unknown to the registry."""
        self.pulled: list[dict[str, Any]] = []
        """The requests to `/api/pull`."""
        self.pulling = 0
        """Open pulls."""

    async def restart(self) -> None:
        """Restart the server, which clears its memory."""
        await self.close_port()
        self.store.restart()
        await self.open_port()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.head("/api/blobs/{digest}", self._has_blob),
            web.post("/api/blobs/{digest}", self._put_blob),
            web.post("/api/create", self._create),
            web.post("/api/copy", self._copy),
            web.delete("/api/delete", self._delete),
            web.get("/api/tags", self._tags),
            web.post("/api/show", self._show),
            web.get("/api/ps", self._loaded),
            web.post("/api/pull", self._pull),
            web.post("/api/chat", self._chat),
            web.post("/v1/chat/completions", self._completion),
            web.get("/v1/models", self._models),
        ]

    def path_of(self, request: web.Request) -> str:
        return "/api/blobs" if request.path.startswith("/api/blobs/") else request.path

    def error_body(self, fault: ServerFault) -> object:
        return {"error": str(fault)}

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
            raise ServerFault(400, "digest does not match")
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
        listed = [
            {
                "name": name,
                "model": name,
                "digest": manifest.digest,
                "size": self.store.size(manifest),
                "modified_at": "2026-11-30T12:00:00.123456789+01:00",
                "details": {
                    "family": self.store.family(manifest),
                    "parameter_size": "135M",
                    "quantization_level": "Q4_1",
                },
            }
            for name, manifest in models
        ]
        return web.json_response({"models": listed})

    async def _loaded(self, request: web.Request) -> web.Response:
        rows = [
            {"name": name, "model": name, "size": 200, "size_vram": 150, "context_length": context, "expires_at": until}
            for name, context in self.store.in_memory()
            for until in ("2318-01-01T00:00:00Z",)
        ]
        return web.json_response({"models": rows})

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        """Answer line by line as in the model's script. A pull that succeeds installs the model."""
        wanted = await request.json()
        self.pulled.append(wanted)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        self.pulling += 1
        try:
            for step in self.scripts.get(wanted["model"], UNKNOWN_MODEL):
                if step is HOLD:
                    await self._go.wait()
                elif step is LOST and request.transport:
                    request.transport.abort()
                    return response
                else:
                    await response.write(line(step))
                if step == SUCCESS:
                    self.store.add_base(wanted["model"], base_file())
        finally:
            self.pulling -= 1
        await response.write_eof()
        return response

    async def _show(self, request: web.Request) -> web.Response:
        manifest = self.store.find((await request.json())["model"])
        lines = [f"FROM /root/.ollama/models/blobs/sha256-{manifest.base}"]
        lines += [f"ADAPTER /root/.ollama/models/blobs/sha256-{digest}" for digest in manifest.adapters]
        modelfile = {"modelfile": "\n".join(lines)} if self.includes_modelfile else {}
        family = self.store.family(manifest)
        traits = {"capabilities": ["completion", "tools"], "model_info": {f"{family}.context_length": 8192}}
        return web.json_response({"details": {"family": family}, **traits, **modelfile})

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
            return await stream_lines(
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
            return await stream_lines(request, "text/event-stream", [*lines, "data: [DONE]\n\n"])

    async def _models(self, request: web.Request) -> web.Response:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "library"} for name in self.store.models]
        return web.json_response({"object": "list", "data": listed})


def _digest(request: web.Request) -> str:
    return request.match_info["digest"].removeprefix("sha256:")


def _spaced(tokens: list[str]) -> list[str]:
    return [token if place == 0 else f" {token}" for place, token in enumerate(tokens)]
