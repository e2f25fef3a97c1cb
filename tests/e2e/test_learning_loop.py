"""A short learning loop with the embedded model: training, evaluation gate, deployment, routing, rollback.

The daemon is killed during training.

`make demo-learning` is the long form, which measures the improvement.
"""

from __future__ import annotations

import asyncio

import pytest

from scripts.demo_learning import KNOWN, LearningLoop, Scale
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess
from tests.kit.training import needs_training

SHORT = Scale(known=tuple(KNOWN[:14]), rounds=1, epochs=2.5, answer_tokens=16)
SETTINGS = {
    "guardian": {"tries": 1},
    "queue": {"lease_s": 3, "sweep_s": 0.5},
    # Few control prompts, and enough held-out samples for a decision of the gate.
    "fine_tuning": {
        "tries": 1,
        "control_prompts": 10,
        "margin": 0.4,
        "held_out_share": 0.4,
        "canary_answers": 2,
        "replay_share": 0.4,
        "threads": 1,
    },
}


@needs_training
@pytest.mark.timeout(1500)
async def test_adapter_is_trained_promoted_preferred_and_rolled_back(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user
    daemon = await DaemonProcess(folder, SETTINGS).start()
    try:
        loop = LearningLoop(daemon.client(), SHORT)
        for step in (loop.measure_base, loop.fill_dataset, loop.correct):
            await asyncio.to_thread(step)
        run = await daemon.ask("POST", "/api/training", {"epochs": SHORT.epochs})

        async def details(path: str = f"/api/training/{run['id']}"):
            return await daemon.ask("GET", path)

        async def has_passed_checkpoint() -> bool:
            progress = (await details())["progress"]
            return progress.get("phase") == "training" and (progress["step"] or 0) >= 11

        await eventually(has_passed_checkpoint, 600, "training passes step 11", every_s=0.2)
        daemon.kill()
        await daemon.start()

        async def has_ended() -> bool:
            return (await details())["state"] in ("done", "failed", "cancelled")

        await eventually(has_ended, 600, "the run ends", every_s=0.5)
        finished = await details()
        assert finished["state"] == "done", finished
        assert finished["adapter_id"]
        steps = [point["step"] for point in finished["progress"]["curve"]]
        assert len(steps) == len(set(steps)), "a step was reported twice"
        loop = with_new_client(loop, daemon)
        for step in (loop.read_adapter, lambda: loop.run_round(0), loop.roll_back):
            await asyncio.to_thread(step)
        entries = (await daemon.ask("GET", "/api/audit"))["items"]
        adapters = (await daemon.ask("GET", "/api/adapters"))["items"]
    finally:
        await daemon.stop()
    measured = loop.measured
    assert (measured.rows, measured.before_right) == (28, 0), "the base model cannot know the answers"
    assert measured.report["ruling"] == "promote"
    assert measured.report["held_out"]["candidate"] > measured.report["held_out"]["base"] == 0
    ((tasks, right, to_adapter),) = measured.rounds
    assert tasks == 20
    assert to_adapter >= 10, "the router does not prefer the adapter"
    assert right >= 5
    assert measured.restored == measured.compared == 5
    assert [adapter["state"] for adapter in adapters] == ["retired"], "one run must store one adapter"
    assert {"training.started", "adapter.ruled", "adapter.rolled_back"} <= {entry["action"] for entry in entries}


def with_new_client(loop: LearningLoop, daemon: DaemonProcess) -> LearningLoop:
    """Return the loop with a client for the daemon's new address."""
    loop._client = daemon.client()
    return loop
