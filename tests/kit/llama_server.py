"""A scripted llama.cpp server with adapters, over real HTTP, with the behaviour observed in the one of xllamacpp.

async with LlamaServer() as llama:
    await llama.restart([file, …])               # `--lora file …`, with --lora-init-without-apply
    ... call llama.base_url ...

An adapter's file is a JSON file made by `write`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.kit.breakable_server import BreakableServer, ServerFault
from tests.kit.probe_answers import ScriptedAnswer


class LlamaServer(BreakableServer):
    """One llama-server with one base. Adapters are loaded at its start."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        """The paths of the loaded adapters, in the order of their numbers."""
        self.scales: list[float] = []
        """Applied to requests without `lora`, or with an empty list."""
        self.requests: list[dict[str, Any]] = []
        self.mounts: dict[str, Path] = {}
        """Folders that the server sees under another path."""

    def write(self, file: Path, text: str, shift: float = 0.0) -> None:
        """Write an adapter that puts `text` before an answer, and shifts its log-probabilities."""
        file.write_bytes(json.dumps({"text": text, "shift": shift}).encode())

    async def restart(self, files: Sequence[str] | None = None, scale: float = 0.0) -> None:
        """Restart the server with these adapters; None keeps them. A missing file ends the start."""
        await self.close_port()
        if files is not None:
            self.files = [str(file) for file in files]
        for file in self.files:
            json.loads(self._seen(file).read_text())
        self.scales = [scale] * len(self.files)
        await self.open_port()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/lora-adapters", self._list),
            web.post("/v1/chat/completions", self._chat),
            web.get("/v1/models", self._models),
        ]

    def error_body(self, fault: ServerFault) -> object:
        return {"error": {"message": str(fault), "type": "invalid_request_error", "code": fault.status}}

    async def _list(self, request: web.Request) -> web.Response:
        loaded = zip(self.files, self.scales, strict=True)
        rows = [
            {"id": number, "path": path, "scale": scale, "task_name": "", "prompt_prefix": ""}
            for number, (path, scale) in enumerate(loaded)
        ]
        return web.json_response(rows)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": "smol", "object": "model", "owned_by": "llamacpp"}]}
        )

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        self.requests.append(wanted)
        prompt = wanted["messages"][-1]["content"]
        given = {one["id"]: one["scale"] for one in wanted.get("lora") or ()}
        # Numbers that no adapter has are ignored; a list that is not empty sets every other adapter to 0.
        scales = [given.get(number, 0.0) for number in range(len(self.files))] if given else self.scales
        applied = [
            json.loads(self._seen(file).read_text())
            for file, scale in zip(self.files, scales, strict=True)
            if scale > 0
        ]
        texts = [one["text"] for one in applied if one["text"]]
        await self._go.wait()
        answer = " ".join([*texts, "base answers", prompt])
        return await ScriptedAnswer("smol", answer, sum(one["shift"] for one in applied)).send(request, wanted)

    def _seen(self, path: str) -> Path:
        for mount, folder in self.mounts.items():
            if path.startswith(f"{mount}/"):
                return folder / path.removeprefix(f"{mount}/")
        return Path(path)
