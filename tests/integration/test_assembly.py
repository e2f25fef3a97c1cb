"""A daemon's components are closed in the reverse order of their use, also if the start fails."""

from __future__ import annotations

import pytest

from kairos.agents.checks import confined
from kairos.agents.judge import Judge
from kairos.api.access.first_account import FirstAccount
from kairos.api.access.passwords import Passwords
from kairos.assembly import assemble
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.embedded import Addresses
from kairos.http import HttpClient
from kairos.llm.cache.response_cache import ResponseCache
from kairos.llm.routing.embedder import Embedder
from kairos.llm.routing.task_types import TaskTypes
from kairos.monitoring.shared_statistics import SharedStatistics
from kairos.orchestration.queue.heartbeat import Heartbeat
from kairos.orchestration.tasks.draft_stream import DraftStreams
from kairos.plugins.plugin_loader import PluginLoader

CLOSING = [
    (Passwords, "aclose"),
    (Heartbeat, "leave"),
    (DraftStreams, "aclose"),
    (PluginLoader, "close"),
    (Judge, "__aexit__"),
    (SharedStatistics, "close"),
    (TaskTypes, "close"),
    (Embedder, "close"),
    (ResponseCache, "aclose"),
    (HttpClient, "__aexit__"),
    (Database, "close"),
]
ORDER = [owner.__name__ for owner, _ in CLOSING] + ["confined"]
ORDER.insert(ORDER.index("HttpClient"), "HttpClient")  # one for the operators' servers, one for the projects'


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the components that were closed, in order."""
    names: list[str] = []

    def record(owner: type, method: str) -> None:
        close = getattr(owner, method)

        async def recorded(self: object, *arguments: object) -> object:
            names.append(owner.__name__)
            return await close(self, *arguments)

        monkeypatch.setattr(owner, method, recorded)

    for owner, method in CLOSING:
        record(owner, method)
    stop = confined.stop
    monkeypatch.setattr(confined, "stop", lambda: (names.append("confined"), stop())[1])
    return names


async def test_components_are_closed_in_order(addresses: Addresses, closed: list[str]):
    async with assemble(Settings(), addresses):
        closed.clear()  # a fixture of an earlier test may have been closed meanwhile
    assert closed == ORDER


async def test_failed_start_closes_what_was_built(
    addresses: Addresses, closed: list[str], monkeypatch: pytest.MonkeyPatch
):
    async def fail(self: FirstAccount) -> None:
        closed.clear()
        raise ZeroDivisionError

    monkeypatch.setattr(FirstAccount, "create", fail)
    with pytest.raises(ZeroDivisionError):
        async with assemble(Settings(), addresses):
            pytest.fail("the start did not fail")
    assert closed == ORDER[1:], "only the password pool was not built yet"
