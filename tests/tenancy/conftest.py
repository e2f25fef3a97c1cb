"""One Kairos with two projects for all tests of a module: they only ever add to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kairos.config import ModelSettings
from kairos.embedded import Addresses
from tests.kit.api import serving
from tests.kit.house import leave_nothing_to_do, open_house
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.tenancy.world import World, two_worlds


@pytest.fixture(scope="module")
async def world(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    weights = folder / "echo.gguf"
    weights.write_bytes(b"GGUF")
    async with ModelServer() as server:
        server.add(ScriptedModel(name="echo", answer="hello"))
        echo = ModelSettings(name="echo", base_url=server.base_url, local=True, weights=weights, adapters="ollama")
        async with (
            open_house(addresses, server, data_dir=folder, models=[echo]) as house,
            serving(house.parts) as anybody,
        ):
            world = await two_worlds(house, anybody)
            yield world
            await leave_nothing_to_do(house.parts, world.x, world.y)
