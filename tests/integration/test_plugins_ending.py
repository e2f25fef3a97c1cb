"""When a daemon stops while a plugin runs, its process ends and its task waits for another daemon."""

from __future__ import annotations

from pathlib import Path

import psutil

from kairos.config import PluginSettings, QueueSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.kairos_app import open_app
from tests.kit.model_server import ModelServer
from tests.kit.plugins import plugin, put

HANGS = plugin(
    "Hangs",
    execute="""
        import os, pathlib, time
        pathlib.Path(task.prompt).write_text(str(os.getpid()))
        while True: time.sleep(1)
    """,
)


async def test_plugin_process_ends_and_its_task_is_queued_again(
    addresses: Addresses, models: ModelServer, tmp_path: Path
):
    settings = PluginSettings(folder=put(tmp_path / "plugins", {"hangs.py": HANGS}), memory_mb=128)
    queue = QueueSettings(lease_s=3, sweep_s=0.3, drain_s=0.2, retry_base_s=0.1)
    mark = tmp_path / "pid"
    async with open_app(addresses, models, plugins=settings, queue=queue) as app:
        async with app.working():
            task_id = await app.submit(str(mark), agent="Hangs")
            pid = int(await eventually(lambda: mark.exists() and mark.read_text()))
        assert (await app.task(task_id)).state == TaskState.QUEUED
        await eventually(lambda: not psutil.pid_exists(pid), 5, "the plugin's process has ended")
