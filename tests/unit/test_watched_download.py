"""A download is ended if its right cannot be confirmed because PostgreSQL is unavailable."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from fastapi import Response

from kairos.api.live import watched_download
from kairos.api.live.event_feed import EventFeed
from kairos.api.live.event_listener import Right
from kairos.api.live.watched_download import WatchedDownload
from kairos.errors import EngineUnavailable
from kairos.tenancy import ProjectId, UserId


class UnavailableFeed:
    """An event feed whose PostgreSQL becomes unavailable after some checks."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.checks = 0

    async def check(self, right: Right) -> None:
        self.checks += 1
        if self.checks > self.answers:
            raise EngineUnavailable(engine="PostgreSQL", address="here", reason="away", remedy="Wait")


class Endless(Response):
    async def __call__(self, *_: Any) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("answers", [0, 50])
async def test_download_ends_if_its_right_is_not_confirmed(monkeypatch: pytest.MonkeyPatch, answers: int):
    monkeypatch.setattr(watched_download, "CHECK_S", 0.005)
    monkeypatch.setattr(watched_download, "UNCHECKED_S", 0.1)
    feed = UnavailableFeed(answers)
    right = Right(UserId(uuid4()), uuid4(), ProjectId(uuid4()))
    download = WatchedDownload(Endless(), cast(EventFeed, feed), right)
    async with asyncio.timeout(10):
        await download({}, cast(Any, None), cast(Any, None))
    assert feed.checks > answers + 1, "a single failed check does not end the download"
