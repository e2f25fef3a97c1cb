"""The calls to Ollama's API: blobs, models, and a short chat.

The API's address is that of the OpenAI protocol without `/v1`. A name without a tag means `:latest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kairos.http import HttpClient, HttpGarbled, HttpLimits, HttpStatus, excerpt, joined, plain_address, server_root
from kairos.llm.catalog.catalog import Model

MISSING = 404
SHORT = HttpLimits(first_byte_s=30.0, total_s=60.0, body_bytes=16 * 1024 * 1024)
UPLOAD = HttpLimits(first_byte_s=1800.0)
"""The response follows the last byte of the upload: 1 GB at 1 MB/s takes 17 minutes."""
CHAT = HttpLimits(first_byte_s=300.0, idle_s=300.0, total_s=300.0)
"""Includes loading the model, which waits for a running answer."""
CHAT_TOKENS = 24

_ADAPTER = re.compile(r"^ADAPTER\s.*sha256[-:]([0-9a-f]{64})", re.MULTILINE | re.IGNORECASE)
"""The line of a Modelfile with the blob of an adapter."""


@dataclass(frozen=True, slots=True)
class OllamaCalls:
    """An Ollama server. Every call raises the `HttpError`s of `HttpClient`."""

    http: HttpClient
    address: str
    token: str | None = None

    async def names(self) -> dict[str, str]:
        """Return the models: full name in lower case -> digest of the manifest, which copies share."""
        answer = await self._json("GET", "/api/tags")
        try:
            return {full_name(model["name"]): str(model["digest"]) for model in answer["models"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise self._garbled("/api/tags", "a list of models", answer) from error

    async def adapters_of(self, name: str) -> tuple[str, ...]:
        """Return the sha256 of each adapter in a model's Modelfile. Empty if unknown."""
        answer = await self._json("POST", "/api/show", {"model": name})
        file = answer.get("modelfile") if isinstance(answer, Mapping) else None
        return tuple(_ADAPTER.findall(file)) if isinstance(file, str) else ()

    async def has_blob(self, sha256: str) -> bool:
        try:
            async with self._stream("HEAD", f"/api/blobs/sha256:{sha256}"):
                return True
        except HttpStatus as error:
            if error.http_status != MISSING:
                raise
            return False

    async def upload(self, sha256: str, file: Path) -> None:
        """Upload a missing blob. For an existing one, the server responds before it reads, which breaks the pipe."""
        async with self._stream("POST", f"/api/blobs/sha256:{sha256}", file, UPLOAD):
            pass

    async def create(self, name: str, base: str, sha256: str) -> None:
        """Create a model from a base and an adapter. Ollama would pull a missing base from the internet."""
        adapters = {"adapter.gguf": f"sha256:{sha256}"}
        await self._json("POST", "/api/create", {"model": name, "from": base, "adapters": adapters, "stream": False})

    async def copy(self, source: str, destination: str) -> None:
        """Copy a model to another name, replacing any model of that name."""
        await self._send("POST", "/api/copy", {"source": source, "destination": destination})

    async def delete(self, name: str) -> None:
        """Delete a model, if it exists."""
        try:
            await self._send("DELETE", "/api/delete", {"model": name})
        except HttpStatus as error:
            if error.http_status != MISSING:
                raise

    async def chat(self, name: str, prompt: str) -> str:
        """Return the first tokens of the answer at temperature 0."""
        # No other options: some, such as num_ctx, belong to the runner, and a different value would reload the model.
        options = {"temperature": 0, "seed": 1, "num_predict": CHAT_TOKENS}
        messages = [{"role": "user", "content": prompt}]
        request = {"model": name, "messages": messages, "stream": False, "options": options}
        answer = await self._json("POST", "/api/chat", request, CHAT)
        try:
            message = answer["message"]
            return f"{message.get('thinking') or ''}{message['content']}"
        except (KeyError, TypeError, AttributeError) as error:
            raise self._garbled("/api/chat", "an answer with a message", answer) from error

    async def _json(self, method: str, path: str, value: Any = None, limits: HttpLimits = SHORT) -> Any:
        if method == "GET":
            return await self.http.get_json(self.address + path, token=self.token, limits=limits)
        return await self.http.post_json(self.address + path, value, token=self.token, limits=limits)

    async def _send(self, method: str, path: str, value: Any) -> None:
        async with self._stream(method, path, orjson.dumps(value)):
            pass

    def _stream(self, method: str, path: str, body: bytes | Path | None = None, limits: HttpLimits = SHORT) -> Any:
        return self.http.stream(
            method, joined(self.address, path.lstrip("/")), body=body, token=self.token, limits=limits
        )

    def _garbled(self, path: str, expected: str, answer: Any) -> HttpGarbled:
        address = plain_address(self.address + path)
        return HttpGarbled(address=address, expected=expected, excerpt=excerpt(orjson.dumps(answer)))


def address_of(base: Model) -> str:
    """Return the address of the Ollama server of a model."""
    return server_root(base.base_url)


def full_name(name: str) -> str:
    """Return a model's name with its tag in lower case, as Ollama treats `Smol`, `smol` and `smol:latest` as equal."""
    return (name if ":" in name.rpartition("/")[2] else f"{name}:latest").lower()
