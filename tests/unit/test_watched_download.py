"""A download while PostgreSQL does not answer."""

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


class Away:
    """The feed of a daemon whose PostgreSQL is away, but for some answers."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.asked = 0

    async def check(self, right: Right) -> None:
        self.asked += 1
        if self.asked > self.answers:
            raise EngineUnavailable(engine="PostgreSQL", address="here", reason="away", remedy="Wait")


class Endless(Response):
    async def __call__(self, *_: Any) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("answers", [0, 50])
async def test_it_ends_where_nobody_confirms_the_right(monkeypatch: pytest.MonkeyPatch, answers: int):
    monkeypatch.setattr(watched_download, "CHECK_S", 0.005)
    monkeypatch.setattr(watched_download, "UNCHECKED_S", 0.1)
    feed = Away(answers)
    right = Right(UserId(uuid4()), uuid4(), ProjectId(uuid4()))
    download = WatchedDownload(Endless(), cast(EventFeed, feed), right)
    async with asyncio.timeout(10):
        await download({}, cast(Any, None), cast(Any, None))
    assert feed.asked > answers + 1, "one question that is not answered ends nothing"
