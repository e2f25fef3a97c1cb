"""A provider that is added, gets another key and is removed while three daemons run tasks."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kairos.cli.client import Client
from kairos.embedded import Addresses
from kairos.encryption.envelope import MasterKey
from kairos.encryption.master_keys import shown
from tests.kit.conditions import eventually
from tests.kit.daemon_load import all_final, submit
from tests.kit.daemon_process import DaemonProcess, command, on_engines
from tests.kit.keyed_server import KeyedServer
from tests.kit.model_server import ModelServer, ScriptedModel

TASKS, MOST_TASKS = 500, 3000
CALLS = 20
"""Calls with each key before the next change."""
LIVE_S = 2.0
FIRST_KEY, SECOND_KEY = "sk-live-first-5b0de1", "sk-live-second-a94c77"


async def models_of(daemon: DaemonProcess) -> set[str]:
    return {item["name"] for item in (await daemon.ask("GET", "/api/models"))["items"]}


async def kairos(daemon: DaemonProcess, *arguments: str) -> Any:
    """Run a command against a daemon."""
    done = await asyncio.to_thread(command, daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def submit_until(done: asyncio.Event, client: Client, ids: list[str]) -> None:
    """Submit tasks one after the other, so that some always run, until `done` is set and there are `TASKS`."""
    while len(ids) < TASKS or (not done.is_set() and len(ids) < MOST_TASKS):
        ids.append(await submit(client))


async def known_by(daemons: list[DaemonProcess], name: str, within_s: float) -> None:
    async def known() -> bool:
        return all(name in models for models in await asyncio.gather(*map(models_of, daemons)))

    await eventually(known, within_s, f"all daemons have the model {name}")


@pytest.mark.timeout(240)
async def test_provider_is_live_on_three_daemons_and_no_task_fails(addresses: Addresses, tmp_path: Path):
    keys = tmp_path / "master-keys"
    keys.write_text(shown(MasterKey.new()))
    async with ModelServer() as models, KeyedServer({FIRST_KEY}) as cloud:
        models.add(ScriptedModel(name="base", answer="hello", first_token_s=0.3))
        settings = on_engines(
            addresses,
            max_concurrent_tasks=4,
            queue={"lease_s": 10, "sweep_s": 0.5, "retry_base_s": 0.1, "max_attempts": 10},
            providers={"master_key_file": str(keys)},
            # The router prefers the free model to the expensive one as soon as there are both.
            router={"lambda_cost": 2},
            models=[{"name": "base", "base_url": models.base_url, "price": {"input": 50, "output": 100}}],
        )
        daemons = [DaemonProcess(tmp_path / name, settings) for name in "abc"]
        first = daemons[0]
        try:
            await first.start()
            await asyncio.gather(*(daemon.start() for daemon in daemons[1:]))
            project = await first.ask("POST", "/api/projects", {"name": f"Providers {tmp_path.name}"})
            client = await asyncio.to_thread(first.client)
            await asyncio.to_thread(client.switch, project["id"])
            ids: list[str] = []
            removed = asyncio.Event()
            submitting = asyncio.create_task(submit_until(removed, client, ids))
            await eventually(lambda: ids, 20, "the first tasks are submitted")

            # Over the command line, whose start takes longer than the two seconds, with the key in a file.
            (first.folder / "key").write_text(FIRST_KEY)
            server = ("--kind", "openai-compatible", "--address", cloud.base_url, "--key-file", "key")
            made = json.loads(await kairos(first, "provider", "add", "Cloud", *server, "--json"))
            body = {"models": [{"upstream": "large", "name": "large", "price": {"input": 0, "output": 0}}]}
            await first.ask("POST", f"/api/providers/{made['id']}/models", body)
            await known_by(daemons, "large", LIVE_S)
            await eventually(lambda: cloud.chat_keys().count(FIRST_KEY) >= CALLS, 30, "the new model is used")

            cloud.accepted = {SECOND_KEY}  # as if the old key were revoked before Kairos got the new one
            (first.folder / "key").write_text(SECOND_KEY)
            await kairos(first, "provider", "set-key", "Cloud", "--key-file", "key")
            rotated = time.monotonic()
            await eventually(lambda: cloud.chat_keys().count(SECOND_KEY) >= CALLS, 30, "the new key is used")

            await kairos(first, "provider", "remove", "Cloud")
            removed_at = time.monotonic()
            await asyncio.sleep(LIVE_S)  # the time in which calls with the removed key may still begin
            removed.set()
            await submitting

            states = await eventually(lambda: all_final(client, ids), 120, "every task has ended")
            assert Counter(states.values()) == {"succeeded": len(ids)}
            old = [r.at - rotated for r in cloud.requests if r.key == FIRST_KEY and r.at > rotated + LIVE_S]
            late = [r.at - removed_at for r in cloud.requests if r.at > removed_at + LIVE_S]
            assert (old, late) == ([], [])
            assert not any("large" in found for found in await asyncio.gather(*map(models_of, daemons)))
            assert not any(key in daemon.log for key in (FIRST_KEY, SECOND_KEY) for daemon in daemons)
        finally:
            for daemon in daemons:
                if daemon._process and daemon.process.poll() is None:
                    assert await daemon.stop() == 0
