"""A changed setting takes effect in three daemons under load, with and without Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kairos.embedded import Addresses
from tests.integration.test_configuration import no_stored_configuration  # noqa: F401 - the engines are shared
from tests.kit.conditions import eventually
from tests.kit.daemon_load import all_final, submit
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.valkey import ValkeyServer

TASKS = 90


async def set_slots(daemon: DaemonProcess, slots: int) -> int:
    """Set the number of slots and return the new version of the configuration."""
    current = await daemon.ask("GET", "/api/config")
    body = {"changes": {"max_concurrent_tasks": slots}, "version": current["version"], "why": "a test"}
    return (await daemon.ask("PATCH", "/api/config", body))["version"]


async def daemons_with_version(
    daemon: DaemonProcess, version: int, slots: int, count: int
) -> list[dict[str, Any]] | None:
    """Return the live daemons with this many slots, or None until `count` of them have this version."""
    items = (await daemon.ask("GET", "/api/daemons"))["items"]
    alive = [item for item in items if item["alive"] and item["heartbeat_at"] and item["slots"] == slots]
    return alive if len([item for item in alive if item["config_version"] == version]) == count else None


@pytest.mark.timeout(240)
async def test_changed_slots_take_effect_in_all_daemons_and_no_task_is_lost(
    addresses: Addresses, tmp_path: Path, own_valkey: ValkeyServer
):
    async with ModelServer() as models:
        models.add(ScriptedModel(name="scripted", answer="hello", first_token_s=0.3))
        settings = on_engines(
            replace(addresses, redis_url=own_valkey.url),
            max_concurrent_tasks=3,
            queue={"lease_s": 4, "sweep_s": 0.5, "retry_base_s": 0.1, "max_attempts": 10},
            models=[{"name": "scripted", "base_url": models.base_url, "local": True}],
        )
        daemons = [DaemonProcess(tmp_path / name, settings) for name in "abc"]
        first, second, third = daemons
        await first.start()
        await second.start()
        try:
            project = await first.ask("POST", "/api/projects", {"name": f"Slots {tmp_path.name}"})
            client = await asyncio.to_thread(first.client)
            await asyncio.to_thread(client.switch, project["id"])
            ids = [await submit(client) for _ in range(TASKS)]

            version = await set_slots(first, 5)
            await eventually(lambda: daemons_with_version(first, version, 5, 2), 10, "both daemons have the version")
            await third.start()
            await eventually(lambda: daemons_with_version(first, version, 5, 3), 10, "the third daemon has the version")

            own_valkey.kill()
            version = await set_slots(second, 4)
            await eventually(
                lambda: daemons_with_version(first, version, 4, 3), 20, "all daemons have the version without Redis"
            )
            own_valkey.start()

            states = await eventually(lambda: all_final(client, ids), 150, "every task has ended")
            assert Counter(states.values()) == {"succeeded": TASKS}
        finally:
            for daemon in daemons:
                if daemon._process and daemon.process.poll() is None:
                    assert await daemon.stop() == 0
