"""A registry from which a real Ollama pulls: manifests and blobs of small models, over HTTP.

Source of the protocol: https://github.com/ollama/ollama/blob/v0.17.4/server/download.go. Ollama asks for a blob's size
with HEAD, follows the redirect of a GET only to another host name, and reads ranges from there.
"""

from __future__ import annotations

import hashlib
import json
import struct
from asyncio import Event
from collections.abc import Sequence
from uuid import uuid4

from aiohttp import web

from tests.kit.breakable_server import BreakableServer, ServerFault

MODEL_TYPE = "application/vnd.ollama.image.model"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = {"model_format": "gguf", "model_family": "llama", "model_type": "7.5K", "file_type": "F32"}


class ModelRegistry(BreakableServer):
    """Serves `{host}/library/{name}`. Blobs of which `half` is set are sent halfway until `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.ranges: list[int] = []
        """The first byte of each range that was asked for."""
        self.half = False
        self.go = Event()

    def add(self, name: str, size: int) -> int:
        """Add a model of about this size; return the bytes of all its files."""
        config, weights = json.dumps(CONFIG).encode(), tiny_gguf(size)
        layers = [{"mediaType": MODEL_TYPE, **self._put(weights)}]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": layers}
        manifest["config"] = {"mediaType": CONFIG_TYPE, **self._put(config)}
        self.manifests[name] = json.dumps(manifest).encode()
        return len(config) + len(weights)

    def name(self, model: str) -> str:
        """Return the name under which Ollama pulls it."""
        return f"127.0.0.1:{self.port}/library/{model}"

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/v2/library/{name}/manifests/{tag}", self._manifest),
            web.head("/v2/library/{name}/blobs/{digest}", self._head),
            web.get("/v2/library/{name}/blobs/{digest}", self._redirect, allow_head=False),
            web.get("/files/{digest}", self._file, allow_head=False),
        ]

    def error_body(self, fault: ServerFault) -> object:
        return {"errors": [{"code": "MANIFEST_UNKNOWN", "message": str(fault)}]}

    async def _manifest(self, request: web.Request) -> web.Response:
        found = self.manifests.get(request.match_info["name"])
        if found is None:
            raise ServerFault(404, "manifest unknown")
        return web.Response(body=found, content_type=MANIFEST_TYPE)

    async def _head(self, request: web.Request) -> web.Response:
        return web.Response(headers={"Content-Length": str(len(self.blobs[request.match_info["digest"]]))})

    async def _redirect(self, request: web.Request) -> web.Response:
        location = f"http://localhost:{self.port}/files/{request.match_info['digest']}"
        return web.Response(status=307, headers={"Location": location})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        content = self.blobs[request.match_info["digest"]]
        begin = request.http_range.start or 0
        self.ranges.append(begin)
        rest = content[begin : request.http_range.stop or len(content)]
        response = web.StreamResponse(status=206, headers={"Content-Length": str(len(rest))})
        await response.prepare(request)
        if self.half and len(content) > 1024:
            await response.write(rest[: len(rest) // 2])
            await self.go.wait()
            rest = rest[len(rest) // 2 :]
        await response.write(rest)
        await response.write_eof()
        return response

    def _put(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return {"digest": digest, "size": len(content)}


def tiny_gguf(size: int) -> bytes:
    """Return a file in GGUF 3 without tensors, of about this size. Each call gives another one."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def string(key: str, value: str) -> bytes:
        return text(key) + struct.pack("<I", 8) + text(value)

    values = [
        string("general.architecture", "llama"),
        text("llama.context_length") + struct.pack("<II", 4, 2048),
        string("general.name", f"{uuid4()}"),
        string("general.description", "x" * size),
    ]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + b"".join(values)
