"""Two daemons on the same engines lose no task when one of them is killed and Valkey is restarted."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.daemon_load import FINAL, all_final, submit
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.valkey import ValkeyServer

TASKS = 200


@pytest.mark.timeout(240)
async def test_every_task_ends_exactly_once(addresses: Addresses, tmp_path: Path, own_valkey: ValkeyServer):
    async with ModelServer() as models:
        models.add(ScriptedModel(name="scripted", answer="hello", first_token_s=0.3))
        settings = on_engines(
            replace(addresses, redis_url=own_valkey.url),
            max_concurrent_tasks=8,
            queue={"lease_s": 4, "sweep_s": 0.5, "retry_base_s": 0.1, "max_attempts": 10},
            models=[{"name": "scripted", "base_url": models.base_url, "local": True}],
        )
        first, second = DaemonProcess(tmp_path / "a", settings), DaemonProcess(tmp_path / "b", settings)
        await first.start()
        await second.start()
        try:
            project = await first.ask("POST", "/api/projects", {"name": f"Faults {tmp_path.name}"})
            client = await asyncio.to_thread(first.client)
            await asyncio.to_thread(client.switch, project["id"])
            ids = [await submit(client) for _ in range(TASKS)]

            await eventually(lambda: len(models.calls) > TASKS * 0.25, 60, "a quarter of the tasks is done")
            second.kill()
            await eventually(lambda: len(models.calls) > TASKS * 0.5, 60, "half of the tasks is done")
            own_valkey.kill()
            await asyncio.sleep(2)  # the duration of the outage
            own_valkey.start()

            states = await eventually(lambda: all_final(client, ids), 150, "every task has ended")
            assert Counter(states.values()) == {"succeeded": TASKS}
            attempts = await _check_histories(client, ids)
            assert attempts[1] < TASKS, "no task of the killed daemon was started again"
        finally:
            for daemon in (first, second):
                if daemon.process.poll() is None:
                    assert await daemon.stop() == 0


async def _check_histories(client, ids: list[str]) -> Counter[int]:
    """Check that each task ended once with one verdict. Return the number of tasks by attempts."""
    attempts: Counter[int] = Counter()
    for id_ in ids:
        task = await asyncio.to_thread(client.get, f"/api/tasks/{id_}")
        ends = [event["kind"] for event in task["events"] if event["kind"] in FINAL]
        assert ends == ["succeeded"], (id_, [event["kind"] for event in task["events"]])
        assert len(task["verdicts"]) == 1
        attempts[task["attempts"]] += 1
    return attempts
