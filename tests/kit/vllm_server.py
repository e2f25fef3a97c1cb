"""A scripted vLLM with adapters, over real HTTP, after its documentation and its source of 2024 to 2026.

async with VllmServer("smol") as vllm:
    vllm.mounts["/adapters"] = folder            # the server sees `folder` there
    vllm.runtime_updating = False                # started without VLLM_ALLOW_RUNTIME_LORA_UPDATING
    ... call vllm.base_url ...
    await vllm.restart()                         # forgets every adapter

An adapter's folder contains `adapter_config.json` with `r`, and as `adapter_model.safetensors` a JSON file made by
`peft_weights`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.kit.breakable_server import BreakableServer, ServerFault
from tests.kit.probe_answers import ScriptedAnswer


def peft_weights(text: str, *, shift: float = 0.0, fits: bool = True) -> bytes:
    """Return the weights of an adapter that puts `text` before an answer, and shifts its log-probabilities.

    One that does not fit has modules of another model: vLLM accepts it, and it changes nothing.
    """
    return json.dumps({"text": text, "shift": shift, "fits": fits}).encode()


class VllmServer(BreakableServer):
    """One vLLM that serves one base."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.mounts: dict[str, Path] = {}
        """Folders that the server sees under another path. Other paths are those of this machine."""
        self.adapters: dict[str, str] = {}
        """The loaded adapters: name to path."""
        self.runtime_updating = True
        self.enable_lora = True
        self.checks_at_load = True
        """Versions before 0.6.4 accepted every path, and failed at the first request."""
        self.max_lora_rank = 16
        self.max_loras = 8
        self.max_logprobs = 20
        self.key: str | None = None
        self.after_list: Callable[[], None] = lambda: None
        """Called after the models were listed, before the answer is sent."""
        self.noise = 0.0
        """Largest change of the log-probabilities between two answers."""
        self._shares = itertools.cycle((0.0, 1.0, 0.4))

    async def restart(self) -> None:
        """Restart the server, which then serves its base only."""
        await self.close_port()
        self.adapters.clear()
        await self.open_port()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/load_lora_adapter", self._load),
            web.post("/v1/unload_lora_adapter", self._unload),
        ]

    def error_body(self, fault: ServerFault) -> object:
        if str(fault) == "Not Found":  # of the framework, for an unknown route
            return {"detail": "Not Found"}
        return {"error": {"message": str(fault), "type": "BadRequestError", "param": None, "code": fault.status}}

    async def _models(self, request: web.Request) -> web.Response:
        self._check_key(request)
        common = {"object": "model", "created": 0, "owned_by": "vllm"}
        cards: list[dict[str, Any]] = [
            {**common, "id": self.base, "root": "/models/base", "parent": None, "max_model_len": 4096}
        ]
        for name, path in self.adapters.items():
            cards.append({**common, "id": name, "root": path, "parent": self.base, "max_model_len": None})
        self.after_list()
        return web.json_response({"object": "list", "data": cards})

    async def _load(self, request: web.Request) -> web.Response:
        self._check_updating(request)
        wanted = await request.json()
        name, path = wanted["lora_name"], wanted["lora_path"]
        if name in self.adapters or name == self.base:
            raise ServerFault(400, f"The lora adapter '{name}' has already been loaded.")
        if self.checks_at_load:
            self._weights(name, path)
        self.adapters[name] = path
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        self._check_updating(request)
        name = (await request.json())["lora_name"]
        if self.adapters.pop(name, None) is None:
            raise ServerFault(404, f"The lora adapter '{name}' cannot be found.")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        wanted = await request.json()
        name, prompt = wanted["model"], wanted["messages"][-1]["content"]
        if wanted.get("top_logprobs", 0) > self.max_logprobs:
            raise ServerFault(400, f"Requested sample logprobs of {wanted['top_logprobs']}, which is greater than max")
        shift, text = self.noise * next(self._shares), f"base answers {prompt}"
        if name in self.adapters:
            weights = self._weights(name, self.adapters[name])
            if weights["fits"]:
                shift += weights["shift"]
                text = f"{weights['text']} {text}".strip()
        elif name != self.base:
            raise ServerFault(404, f"The model `{name}` does not exist.")
        await self._go.wait()
        return await ScriptedAnswer(name, text, shift).send(request, wanted)

    def _weights(self, name: str, path: str) -> dict[str, Any]:
        """Return the contents of an adapter, or raise the errors of the engine."""
        if not self.enable_lora:
            raise ServerFault(500, "LoRA is not enabled. Use --enable-lora to enable LoRA.")
        folder = self._seen(path)
        if not (folder / "adapter_config.json").exists():
            raise ServerFault(404, f"Loading lora {name} failed: No adapter found for {path}")
        rank = json.loads((folder / "adapter_config.json").read_text())["r"]
        if rank > self.max_lora_rank:
            raise ServerFault(500, f"LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}.")
        if len(self.adapters.keys() | {name}) > self.max_loras:
            raise ServerFault(500, "No free lora slots")
        return json.loads((folder / "adapter_model.safetensors").read_text())

    def _seen(self, path: str) -> Path:
        for mount, folder in self.mounts.items():
            if path.startswith(f"{mount}/"):
                return folder / path.removeprefix(f"{mount}/")
        return Path(path)

    def _check_updating(self, request: web.Request) -> None:
        self._check_key(request)
        if not self.runtime_updating:
            raise ServerFault(404, "Not Found")

    def _check_key(self, request: web.Request) -> None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            raise ServerFault(401, "Unauthorized")
