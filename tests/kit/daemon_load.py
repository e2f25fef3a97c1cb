"""Load for real daemons, through the command line's own client."""

from __future__ import annotations

import asyncio

from kairos.cli.client import Client

FINAL = {"succeeded", "rejected", "failed", "dead", "cancelled"}


async def submit(client: Client) -> str:
    """A small batch task; its id."""
    body = {"prompt": "say hello", "lane": "batch", "checks": {"require": ["hello"]}}
    return (await asyncio.to_thread(client.post, "/api/tasks", body))["id"]


async def all_final(client: Client, ids: list[str]) -> dict[str, str] | None:
    """The states of all tasks by id, once these have ended. None of them may be missing."""
    states: dict[str, str] = {}
    cursor = None
    while True:
        page = await asyncio.to_thread(client.get, "/api/tasks", limit=200, cursor=cursor)
        states |= {task["id"]: task["state"] for task in page["items"]}
        cursor = page["next"]
        if cursor is None:
            break
    await asyncio.sleep(0.5)
    assert set(ids) <= set(states), "no task vanished"
    return states if all(states[id_] in FINAL for id_ in ids) else None
