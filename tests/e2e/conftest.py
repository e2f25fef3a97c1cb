"""Fixtures of the browser tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from kairos.embedded import Addresses
from tests.e2e.office import Office, new_cloud, opened_office
from tests.kit.browser import browsing
from tests.kit.cloud_server import CloudServer


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser for all tests of this process; each visitor has a profile of their own in it."""
    async with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
async def office(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    async with opened_office(addresses, tmp_path_factory.mktemp("office")) as office:
        yield office


@pytest.fixture
async def cloud(office: Office) -> AsyncIterator[CloudServer]:
    async with new_cloud(office) as cloud:
        yield cloud
