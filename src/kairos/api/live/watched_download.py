"""A download that is aborted when the right to it ends."""

from __future__ import annotations

import asyncio
import logging

from fastapi import Response
from starlette.types import Receive, Scope, Send

from kairos.api.live.event_feed import CHECK_S, UNCHECKED_S, EventFeed
from kairos.api.live.event_listener import Right
from kairos.background_tasks import end
from kairos.errors import EngineUnavailable

log = logging.getLogger(__name__)


class WatchedDownload(Response):
    """Sends a response while the right is valid; when it ends, the connection is closed."""

    def __init__(self, response: Response, feed: EventFeed, right: Right) -> None:
        self._response = response
        self._feed = feed
        self._right = right
        self.status_code, self.raw_headers, self.background = response.status_code, response.raw_headers, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._response(scope, receive, send), name="sending a download")
        watching = asyncio.create_task(self._ended(), name="watching the right to a download")
        try:
            await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = not sending.done()
            await end(sending, watching)
        if ended:
            log.info("a download was aborted because the right to it has ended")
        elif error := sending.exception():
            raise error

    async def _ended(self) -> None:
        """Return when the right has ended or could not be checked for `UNCHECKED_S`."""
        clock = asyncio.get_running_loop().time
        checked = clock()
        while clock() - checked <= UNCHECKED_S:
            await asyncio.sleep(CHECK_S)
            try:
                if await self._feed.check(self._right):
                    return
                checked = clock()
            except EngineUnavailable as error:
                log.info("the right to a download could not be checked: %s", error)
