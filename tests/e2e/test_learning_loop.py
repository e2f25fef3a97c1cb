"""The learning loop from nothing, short: the real model, a real training, the gate, service, the router, a roll-back;
and a daemon that is killed half-way.

`make demo-learning` is the long form, which says how good it gets; here it must close.
"""

from __future__ import annotations

import asyncio

import pytest

from scripts.demo_learning import KNOWN, LearningLoop, Scale
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess

pytest.importorskip("trl", reason="needs `make train`")

SHORT = Scale(known=tuple(KNOWN[:14]), rounds=1, epochs=2.5, answer_tokens=24)
SETTINGS = {
    "guardian": {"tries": 1},
    "queue": {"lease_s": 3, "sweep_s": 0.5},
    # Few prompts to ask, and rows enough held out that the gate can speak.
    "fine_tuning": {
        "control_prompts": 10,
        "margin": 0.4,
        "held_out_share": 0.4,
        "canary_answers": 2,
        "replay_share": 0.4,
        "threads": 1,
    },
}


@pytest.mark.timeout(1500)
async def test_what_was_corrected_is_learned_served_preferred_and_taken_back(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    daemon = await DaemonProcess(folder, SETTINGS).start()
    try:
        loop = LearningLoop(daemon.client(), SHORT)
        for step in (loop.measure_base, loop.fill_dataset, loop.correct):
            await asyncio.to_thread(step)
        run = await daemon.ask("POST", "/api/training", {"epochs": SHORT.epochs})

        async def standing(path: str = f"/api/training/{run['id']}"):
            return await daemon.ask("GET", path)

        async def past_its_checkpoint() -> bool:
            progress = (await standing())["progress"]
            return progress.get("phase") == "training" and (progress["step"] or 0) >= 11

        await eventually(past_its_checkpoint, 600, "it trains", every_s=0.2)
        daemon.kill()
        await daemon.start()

        async def ended() -> bool:
            return (await standing())["state"] in ("done", "failed", "cancelled")

        await eventually(ended, 600, "the run ends", every_s=0.5)
        done = await standing()
        assert done["state"] == "done", done
        assert done["adapter_id"]
        steps = [point["step"] for point in done["progress"]["curve"]]
        assert len(steps) == len(set(steps)), "no step was done twice, nor told twice"
        loop = carried_over(loop, daemon)
        for step in (loop.read_adapter, lambda: loop.run_round(0), loop.roll_back):
            await asyncio.to_thread(step)
        entries = (await daemon.ask("GET", "/api/audit"))["items"]
        adapters = (await daemon.ask("GET", "/api/adapters"))["items"]
    finally:
        await daemon.stop()
    measured = loop.measured
    assert (measured.rows, measured.before_right) == (28, 0), "no model can know it"
    assert measured.report["ruling"] == "promote"
    assert measured.report["held_out"]["candidate"] > measured.report["held_out"]["base"] == 0
    ((tasks, right, to_adapter),) = measured.rounds
    assert tasks == 20
    assert to_adapter >= 10, "the router measures that it is better"
    assert right >= 5
    assert measured.restored == measured.compared == 5
    assert [adapter["state"] for adapter in adapters] == ["retired"], "one run makes one adapter"
    assert {"training.started", "adapter.ruled", "adapter.rolled_back"} <= {entry["action"] for entry in entries}


def carried_over(loop: LearningLoop, daemon: DaemonProcess) -> LearningLoop:
    """The same loop at the address that the daemon has now."""
    loop._client = daemon.client()
    return loop
