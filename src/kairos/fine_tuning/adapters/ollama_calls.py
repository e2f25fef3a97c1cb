"""What Kairos asks of an Ollama, call by call: blobs, models by name, and one short chat.

Its own address is the one of the OpenAI protocol without `/v1`. A name without a tag means `:latest` there.
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
"""The answer comes after the last byte was sent: a file of 1 GB at 1 MB/s takes 17 minutes."""
CHAT = HttpLimits(first_byte_s=300.0, idle_s=300.0, total_s=300.0)
"""With the loading of the model, and the answer under way that the loading waits for."""
CHAT_TOKENS = 24

_ADAPTER = re.compile(r"^ADAPTER\s.*sha256[-:]([0-9a-f]{64})", re.MULTILINE | re.IGNORECASE)
"""The line of a Modelfile that names the blob of an adapter."""


@dataclass(frozen=True, slots=True)
class OllamaCalls:
    """One Ollama. Every call raises the `HttpError`s of `HttpClient`."""

    http: HttpClient
    address: str
    token: str | None = None

    async def names(self) -> dict[str, str]:
        """The models it has: full name in lower case -> digest of the manifest, the same for a copy."""
        answer = await self._json("GET", "/api/tags")
        try:
            return {full_name(model["name"]): str(model["digest"]) for model in answer["models"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise self._garbled("/api/tags", "a list of models", answer) from error

    async def adapters_of(self, name: str) -> tuple[str, ...]:
        """The sha256 of each adapter that a model has, by its Modelfile. Empty where that does not tell."""
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
        """Only for a blob that is not there: one that exists is answered before it is read, which breaks the pipe."""
        async with self._stream("POST", f"/api/blobs/sha256:{sha256}", file, UPLOAD):
            pass

    async def create(self, name: str, base: str, sha256: str) -> None:
        """A model of a base and one adapter. A base that is not there would be pulled from the internet."""
        adapters = {"adapter.gguf": f"sha256:{sha256}"}
        await self._json("POST", "/api/create", {"model": name, "from": base, "adapters": adapters, "stream": False})

    async def copy(self, source: str, destination: str) -> None:
        """Give a model another name, in place of what had it."""
        await self._send("POST", "/api/copy", {"source": source, "destination": destination})

    async def delete(self, name: str) -> None:
        """Forget a name; nothing where there is none."""
        try:
            await self._send("DELETE", "/api/delete", {"model": name})
        except HttpStatus as error:
            if error.http_status != MISSING:
                raise

    async def chat(self, name: str, prompt: str) -> str:
        """The first tokens of what it says at temperature 0."""
        # No other options: some, as num_ctx, are part of the runner, and another value would load the model again.
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
    """The address of the Ollama that serves a model."""
    return server_root(base.base_url)


def full_name(name: str) -> str:
    """A model's name with its tag, in lower case: Ollama takes `Smol`, `smol` and `smol:latest` for one."""
    return (name if ":" in name.rpartition("/")[2] else f"{name}:latest").lower()
