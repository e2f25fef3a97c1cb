"""A real llama.cpp server with random adapters: the one of the package xllamacpp, with the embedded weights.

    python -m tests.kit.real_llama_server FOLDER PORT

starts one with the adapters of the contract, for KAIROS_TEST_LLAMACPP_URL=http://127.0.0.1:PORT/v1. With
KAIROS_TEST_LLAMACPP_URL=start, the tests start and restart one themselves.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from uuid import UUID

from kairos.embedded.model import API_KEY, SERVER, check_weights
from kairos.fine_tuning.adapters.adapters import GGUF
from kairos.http import HttpClient, HttpError
from kairos.tenancy import ProjectId
from tests.kit.conditions import eventually
from tests.kit.lora_file import write_lora

BASE = "smol"
PROJECTS = (
    ProjectId(UUID("01a00000-0000-7000-8000-0000000000aa")),
    ProjectId(UUID("01a00000-0000-7000-8000-0000000000bb")),
)
USELESS = 9
"""Version of the adapter whose weights are zero."""


def adapter_folder(project: int, version: int) -> str:
    """Return an adapter's folder, relative to the folder of adapters."""
    return f"{PROJECTS[project]}/{BASE}/{version}"


def text_of(project: int, version: int) -> str:
    """Return the text that identifies an adapter of the contract; empty for the one without effect."""
    return "" if version == USELESS else f"project {project} version {version}"


class RealLlamaServer:
    """A server that tests may stop and restart. Its port stays the same."""

    def __init__(self, http: HttpClient) -> None:
        self.files: list[str] = []
        self._http = http
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    async def __aenter__(self) -> Self:
        await self.open_port()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close_port()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def write(self, file: Path, text: str, shift: float = 0.0) -> None:
        """Write a random adapter; each text gives another one, the empty text one without effect."""
        write_lora(file, random.Random(text).getrandbits(31), scale=4.0 if text else 0.0)

    async def restart(self, files: Sequence[str] | None = None) -> None:
        """Restart the server with these adapters; None keeps them."""
        await self.close_port()
        self.files = self.files if files is None else list(files)
        await self.open_port()

    async def close_port(self) -> None:
        """Kill the server."""
        if self._process:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def open_port(self) -> None:
        """Start the server, and wait until it has loaded the model."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *_arguments(self._port, self.files), env={**os.environ, API_KEY: ""},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        async def ready() -> bool:
            try:
                await self._http.get_json(f"http://127.0.0.1:{self._port}/lora-adapters")
            except HttpError:
                return False
            return True

        await eventually(ready, 60, "llama.cpp has loaded the model")


def main(folder: str, port: str) -> None:
    """Become a server with the adapters of the contract."""
    files = []
    for project, version in ((0, 1), (0, 2), (1, 1), (0, USELESS)):
        file = Path(folder) / adapter_folder(project, version) / GGUF
        file.parent.mkdir(parents=True, exist_ok=True)
        text = text_of(project, version)
        files.append(str(write_lora(file, random.Random(text).getrandbits(31), scale=4.0 if text else 0.0)))
    os.environ[API_KEY] = ""
    os.execv(sys.executable, [sys.executable, *_arguments(int(port), files)])


def _arguments(port: int, files: Sequence[str]) -> list[str]:
    return ["-P", str(SERVER), str(check_weights()), "127.0.0.1", str(port), *files]


if __name__ == "__main__":
    main(*sys.argv[1:])
