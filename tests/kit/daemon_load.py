"""Generates load on real daemons through the client of the command line."""

from __future__ import annotations

import asyncio

from kairos.cli.client import Client

FINAL = {"succeeded", "rejected", "failed", "dead", "cancelled"}


async def submit(client: Client) -> str:
    """Submit a small batch task and return its id."""
    body = {"prompt": "say hello", "lane": "batch", "checks": {"require": ["hello"]}}
    return (await asyncio.to_thread(client.post, "/api/tasks", body))["id"]


async def all_final(client: Client, ids: list[str]) -> dict[str, str] | None:
    """Return the states of all tasks by id once `ids` have ended, else None. No task of `ids` may be missing."""
    states: dict[str, str] = {}
    cursor = None
    while True:
        page = await asyncio.to_thread(client.get, "/api/tasks", limit=200, cursor=cursor)
        states |= {task["id"]: task["state"] for task in page["items"]}
        cursor = page["next"]
        if cursor is None:
            break
    await asyncio.sleep(0.5)
    assert set(ids) <= set(states), "tasks are missing"
    return states if all(states[id_] in FINAL for id_ in ids) else None
