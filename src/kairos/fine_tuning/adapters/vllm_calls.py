"""The calls to vLLM that load adapters, and what its refusals mean.

After vLLM's documentation of LoRA adapters (docs.vllm.ai, features/lora) and its models endpoint: a base has no
`parent`; an adapter's `root` is the path that it was loaded from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kairos.fine_tuning.adapters.chat_probe import ChatProbe
from kairos.fine_tuning.adapters.serving import clause
from kairos.http import HttpClient, HttpGarbled, HttpLimits, HttpStatus, excerpt, joined, plain_address

LIST = HttpLimits(first_byte_s=30.0, total_s=60.0, body_bytes=16 * 1024 * 1024)
LOAD = HttpLimits(first_byte_s=300.0, total_s=300.0)
"""vLLM reads the adapter and waits for its workers before it answers."""
MISSING, NOT_ALLOWED, DENIED = 404, 405, (401, 403)
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values of --max-lora-rank."""

_LOADED = re.compile(r"already been loaded", re.IGNORECASE)
_NO_FILES = re.compile(
    r"no adapter found|no such file|not a valid|adapter_config|repository not found|repo id must", re.IGNORECASE
)
_DISABLED = re.compile(r"lora is not enabled|enable[-_]lora", re.IGNORECASE)
_RANK = re.compile(r"rank (\d{1,6}) is greater than max_lora_rank", re.IGNORECASE)
_FULL = re.compile(r"lora slots|max_loras|max_cpu_loras|items are pinned", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VllmModel:
    """A model in the list of a vLLM server."""

    root: str | None
    """Path of the weights, or of the adapter; None if the version does not list it."""
    parent: str | None
    """The base of an adapter."""
    context: int | None
    """Tokens of prompt and answer together; listed for bases only."""


@dataclass(frozen=True, slots=True)
class VllmCalls:
    """A vLLM server. Every call raises the `HttpError`s of `HttpClient`."""

    http: HttpClient
    base_url: str
    token: str | None = None

    @property
    def address(self) -> str:
        """The address for messages."""
        return plain_address(self.base_url)

    @property
    def probe(self) -> ChatProbe:
        return ChatProbe(self.http, self.base_url, self.token)

    async def models(self) -> dict[str, VllmModel]:
        """Return the listed models by name: bases and loaded adapters."""
        url = joined(self.base_url, "models")
        answer = await self.http.get_json(url, token=self.token, limits=LIST)
        try:
            return {str(listed["id"]): _listed(listed) for listed in answer["data"]}
        except (KeyError, TypeError, AttributeError) as error:
            text = excerpt(orjson.dumps(answer))
            raise HttpGarbled(address=plain_address(url), expected="a list of models", excerpt=text) from error

    async def load(self, name: str, folder: str) -> None:
        """Load an adapter under a name. A name that another daemon has just loaded is no error."""
        try:
            await self._send("load_lora_adapter", {"lora_name": name, "lora_path": folder})
        except HttpStatus as error:
            if not _LOADED.search(error.reason):
                raise

    async def unload(self, name: str) -> None:
        """Unload an adapter, if it is loaded."""
        try:
            await self._send("unload_lora_adapter", {"lora_name": name})
        except HttpStatus as error:
            if error.http_status != MISSING:
                raise

    async def _send(self, path: str, value: Mapping[str, Any]) -> None:
        # The answer is plain text.
        url, body = joined(self.base_url, path), orjson.dumps(value)
        async with self.http.stream("POST", url, body=body, token=self.token, limits=LOAD) as answer:
            await answer.body()


def refusal(error: HttpStatus, address: str, folder: str) -> str:
    """Return what a failed load, or a failed first answer, means and what the operator of the server must change."""
    reason = error.reason
    if rank := _RANK.search(reason):
        enough = next((allowed for allowed in RANKS if allowed >= int(rank[1])), int(rank[1]))
        remedy = f"Restart it with --max-lora-rank {enough}"
    elif _DISABLED.search(reason):
        remedy = "Restart it with --enable-lora"
    elif _FULL.search(reason):
        remedy = "All its places for adapters are taken: restart it with a larger --max-loras and --max-cpu-loras"
    elif _NO_FILES.search(reason):
        remedy = (
            f"It must see the adapter's files in {folder}: mount the folder of adapters there, or set `adapters_path` "
            "of the base in kairos.toml to the folder under which the server sees it"
        )
    elif error.http_status in DENIED:
        remedy = "Set `api_key_env` of the base in kairos.toml to the variable with the server's key"
    elif error.http_status in (MISSING, NOT_ALLOWED):
        remedy = "Restart it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment, and with --enable-lora"
    else:
        remedy = "Its log has the details"
    return f"vLLM at {address} does not load the adapter ({error.http_status}: {reason}). {remedy}. Kairos retries."


def away(error: Exception, address: str) -> str:
    return f"vLLM at {address} is unavailable ({clause(error)}). Kairos retries."


def _listed(listed: Mapping[str, Any]) -> VllmModel:
    root, parent, context = (listed.get(name) for name in ("root", "parent", "max_model_len"))
    return VllmModel(
        root if isinstance(root, str) else None,
        parent if isinstance(parent, str) and parent else None,
        context if isinstance(context, int) and context > 0 else None,
    )
