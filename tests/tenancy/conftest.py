"""One application with two projects for all tests of a file, which only add data. No file may leave data behind."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kairos.config import ModelSettings, ProviderSettings
from kairos.embedded import Addresses
from tests.kit.api import serving
from tests.kit.kairos_app import cancel_unfinished_tasks, open_app
from tests.kit.leftovers import leftovers, uses_engines
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.ollama_server import OllamaServer
from tests.tenancy.world import World, create_world


@pytest.fixture(scope="module", autouse=True)
def check_leftovers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail if a test file leaves rows, keys in Redis, or temporary files.

    The folder for temporary files is replaced, so that it contains only files of this process.
    """
    addresses = request.getfixturevalue("addresses") if uses_engines(request) else None
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield
    check_files(folder)
    if addresses:
        check_engines(addresses)


def check_files(folder: Path) -> None:
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == [], "files are left over"


def check_engines(addresses: Addresses) -> None:
    found = leftovers(addresses)
    assert not found, f"rows or keys are left: {found}"


@pytest.fixture(scope="module")
def empty_engines(check_leftovers: None, empty_engines: None) -> None:
    """Empty the engines as everywhere, before `check_leftovers` checks them."""


@pytest.fixture(scope="module")
async def world(empty_engines: None, addresses: Addresses) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "echo.gguf"
        weights.write_bytes(b"GGUF")
        async with ModelServer() as server, OllamaServer() as ollama:
            server.add(ScriptedModel(name="echo", answer="hello"))
            echo = ModelSettings(name="echo", base_url=server.base_url, local=True, weights=weights, adapters="ollama")
            allowed = ProviderSettings(private_hosts=["127.0.0.1"])
            async with (
                open_app(addresses, server, data_dir=folder, models=[echo], providers=allowed) as app,
                serving(app.parts) as anonymous,
            ):
                world = await create_world(app, anonymous, ollama)
                yield world
                await cancel_unfinished_tasks(app.parts, world.x, world.y)
