"""The calls to a llama.cpp server about its adapters.

After tools/server/README.md of llama.cpp: adapters are loaded at start only (`--lora`) and are numbered in the order of
the command line. A request's `lora` lists scales by number; an adapter that is not listed has scale 0. Without `lora`,
or with an empty list, the server's own scales apply, which are 1 unless it was started with --lora-init-without-apply.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from kairos.fine_tuning.adapters.adapters import GGUF
from kairos.fine_tuning.adapters.chat_probe import ChatProbe
from kairos.fine_tuning.adapters.serving import ServedAdapter
from kairos.http import HttpClient, HttpGarbled, HttpLimits, excerpt, joined, plain_address, server_root
from kairos.llm.catalog.catalog import Model

LIST = HttpLimits(first_byte_s=30.0, total_s=60.0, body_bytes=16 * 1024 * 1024)
NO_APPLY = "--lora-init-without-apply"
FULL, NONE = 1.0, 0.0


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter that the server loaded at its start."""

    number: int
    path: str
    """As given on the server's command line."""
    scale: float
    """Applied to requests without `lora`."""


@dataclass(frozen=True, slots=True)
class LlamaServerCalls:
    """A llama.cpp server. Every call raises the `HttpError`s of `HttpClient`."""

    http: HttpClient
    base_url: str
    token: str | None = None

    @property
    def address(self) -> str:
        """The address for messages."""
        return plain_address(server_root(self.base_url))

    @property
    def probe(self) -> ChatProbe:
        return ChatProbe(self.http, self.base_url, self.token)

    async def loaded(self) -> tuple[LoadedAdapter, ...]:
        """Return the loaded adapters, by number."""
        url = joined(server_root(self.base_url), "lora-adapters")
        answer = await self.http.get_json(url, token=self.token, limits=LIST)
        try:
            found = [LoadedAdapter(int(one["id"]), str(one["path"]), float(one.get("scale", NONE))) for one in answer]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = excerpt(orjson.dumps(answer))
            raise HttpGarbled(address=plain_address(url), expected="a list of adapters", excerpt=text) from error
        return tuple(sorted(found, key=lambda one: one.number))


def plain_base(base: Model) -> Model:
    """Return a base that is called without any adapter, whatever adapters its server loads and applies by default.

    One adapter with scale 0 is listed, because an empty list means the server's own scales.
    """
    return base if "lora" in base.body else _with_scales(base, [{"id": 0, "scale": NONE}])


def adapted(base: Model, loaded: Sequence[LoadedAdapter], chosen: LoadedAdapter) -> Model:
    """Return the base with one adapter applied, and the scale 0 for all others."""
    scales = [{"id": one.number, "scale": FULL if one is chosen else NONE} for one in loaded]
    return _with_scales(base, scales)


def file_of(adapter: ServedAdapter, loaded: Sequence[LoadedAdapter]) -> LoadedAdapter | None:
    """Return the loaded adapter whose file is this one's.

    All files have the same name, so the folders that identify project, base and version must match as well. A server
    may see them below another folder than Kairos.
    """
    ending = f"/{adapter.path}/{GGUF}"
    return next((one for one in loaded if f"/{_plain(one.path)}".endswith(ending)), None) if adapter.path else None


def options(adapters: Sequence[ServedAdapter]) -> str:
    """Return the options of llama-server that load these adapters."""
    return " ".join([NO_APPLY, *(f"--lora {shlex.quote(server_file(one))}" for one in adapters)])


def server_file(adapter: ServedAdapter) -> str:
    """Return the path of the adapter's file as the server sees it."""
    return f"{adapter.server_folder}/{GGUF}"


def _with_scales(base: Model, scales: Sequence[Mapping[str, Any]]) -> Model:
    return replace(base, body={**base.body, "lora": list(scales)})


def _plain(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/")).lstrip("/")
