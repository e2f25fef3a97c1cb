"""Run the whole learning loop on this machine with the embedded model: `make demo-learning`.

A team has its own API, Vex, which no model knows. Tasks are submitted with a check for the correct answer, the guardian
rejects invented answers, and the rejected drafts become dataset rows. They are corrected through the API.
`kairos fine-tune` trains an adapter, which the evaluation gate accepts and deploys. The router measures the adapter and
prefers it for new tasks. A roll-back restores the earlier answers. All figures in the table come from this run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from rich.console import Console
from rich.table import Table

from kairos.cli.client import Client, runtime
from kairos.cli.credentials import CredentialFile

console = Console(highlight=False)

BASE = "smollm2-135m"
DEPLOYED = ("canary", "live")
VERBS = ("clean", "heat", "paint", "weigh")
KNOWN = [
    "kettle",
    "lamp",
    "chair",
    "bucket",
    "door",
    "carpet",
    "bottle",
    "mirror",
    "ladder",
    "basket",
    "drum",
    "candle",
    "blanket",
    "pencil",
    "cupboard",
    "piano",
    "shovel",
    "engine",
    "helmet",
    "wallet",
    "rocket",
    "umbrella",
    "cradle",
    "trumpet",
]
"""Objects in the corrected tasks, each with two of the verbs."""
NEW = ("table", "spoon", "window", "bicycle", "hammer", "pillow", "guitar", "oven", "clock", "shirt")
"""Objects that occur in no dataset row, each with all four verbs."""
READY_S, TASK_S, TRAINING_S = 60.0, 120.0, 1500.0


@dataclass(frozen=True, slots=True)
class DemoTask:
    """A prompt with its only correct answer."""

    verb: str
    thing: str

    @property
    def prompt(self) -> str:
        return f"Write the Vex call to {self.verb} the {self.thing}."

    @property
    def right(self) -> str:
        return f'vex.{self.verb}("{self.thing}")'


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of the demo. A short run shows that the loop closes, a long one how good the adapter gets."""

    known: Sequence[str] = tuple(KNOWN)
    rounds: int = 2
    """Rounds of 20 tasks after the promotion."""
    epochs: float = 4
    answer_tokens: int = 64
    """Maximum length of an answer. A right one takes a dozen tokens."""


@dataclass(slots=True)
class Measurements:
    """The figures of a run."""

    before_right: int = 0
    before_total: int = 0
    rows: int = 0
    training_s: float = 0
    report: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    adapter: str = ""
    rounds: list[tuple[int, int, int]] = field(default_factory=list)
    """For each round: tasks, correct answers, and tasks routed to the adapter."""
    restored: int = 0
    compared: int = 0
    seconds: float = 0


class LearningLoop:
    """The steps of the demo, performed on one daemon through its API."""

    def __init__(self, client: Client, scale: Scale) -> None:
        self._client = client
        self._scale = scale
        self.measured = Measurements()
        new = itertools.product(VERBS, NEW)
        self._new = shuffled(DemoTask(verb, thing) for verb, thing in new)[: 20 * scale.rounds]
        self._before: dict[DemoTask, dict[str, Any]] = {}

    def measure_base(self) -> None:
        """Submit the new tasks in another project, so that they do not enter the dataset."""
        other = self._client.in_project(self._client.post("/api/projects", {"name": "Before"})["id"])
        self._before = {task: self._submit(task, other) for task in self._new}
        self.measured.before_total = len(self._before)
        self.measured.before_right = sum(task["state"] == "succeeded" for task in self._before.values())

    def fill_dataset(self) -> None:
        """Submit the known tasks. The guardian rejects wrong answers, which become dataset rows."""
        for task in self._known():
            self._submit(task)

    def correct(self) -> None:
        """Correct and approve the rows one by one, as on the labelling page."""
        right = {task.prompt: task.right for task in self._known()}
        while row := self._client.post("/api/dataset/next"):
            prompt = next(message["content"] for message in row["prompt"] if message["role"] == "user")
            body = {"version": row["version"], "corrected_output": right[prompt], "state": "approved"}
            self._client.call("PATCH", f"/api/dataset/{row['id']}", body)
            self.measured.rows += 1

    def fine_tune(self, environment: dict[str, str]) -> None:
        """Run `kairos fine-tune`, as a person would."""
        epochs, began = str(self._scale.epochs), time.monotonic()
        command = [sys.executable, "-m", "kairos", "fine-tune", "--model", BASE, "--epochs", epochs, "--watch"]
        subprocess.run(command, env=environment, check=True, timeout=TRAINING_S)
        self.measured.training_s = time.monotonic() - began

    def read_adapter(self) -> None:
        """Read the adapter's state and the gate's report."""
        adapter = self._client.get(f"/api/adapters/{self._adapters()[0]['id']}")
        self.measured.report, self.measured.state = adapter["report"], adapter["state"]
        self.measured.adapter = adapter["name"]

    def run_round(self, number: int) -> None:
        """Submit 20 new tasks, without corrections, and let the router choose the model."""
        tasks = [self._submit(task) for task in self._new[20 * number : 20 * (number + 1)]]
        right = sum(task["state"] == "succeeded" for task in tasks)
        self.measured.rounds.append((len(tasks), right, sum(task["model"] == self.measured.adapter for task in tasks)))

    def roll_back(self) -> None:
        """Roll back to the base, and compare its answers with the first ones."""
        while any(one["state"] in DEPLOYED for one in self._adapters()):
            self._client.post("/api/adapters/roll-back", {"base": BASE})
        again = {task: self._submit(task) for task in self._new[:5]}
        self.measured.compared = len(again)
        self.measured.restored = sum(result["output"] == self._before[task]["output"] for task, result in again.items())

    def _submit(self, task: DemoTask, client: Client | None = None) -> dict[str, Any]:
        return submit(client or self._client, task, self._scale.answer_tokens)

    def _known(self) -> list[DemoTask]:
        return shuffled(
            DemoTask(VERBS[(number + turn) % 4], thing)
            for number, thing in enumerate(self._scale.known)
            for turn in (0, 1 + (number // 4) % 3)
        )

    def _adapters(self) -> list[dict[str, Any]]:
        return self._client.get("/api/adapters")["items"]


def run_loop(client: Client, environment: dict[str, str]) -> Measurements:
    """Run all steps, and print a line for each."""
    began, loop = time.monotonic(), LearningLoop(client, Scale())
    log("submit new tasks to the base, in another project, to measure it")
    loop.measure_base()
    log("submit tasks; the guardian checks every answer against the task's check")
    loop.fill_dataset()
    log("correct the rejected answers, one row at a time")
    loop.correct()
    log("kairos fine-tune")
    loop.fine_tune(environment)
    loop.read_adapter()
    if loop.measured.state in DEPLOYED:
        for number in range(loop.measured.before_total // 20):
            log(f"submit 20 new tasks, round {number + 1}; the router chooses the model")
            loop.run_round(number)
        log("roll back, and submit the first tasks to the base again")
        loop.roll_back()
    loop.measured.seconds = time.monotonic() - began
    return loop.measured


def shuffled(tasks: Iterable[DemoTask]) -> list[DemoTask]:
    """Return the tasks in a random but reproducible order."""
    ordered = list(tasks)
    random.Random(7).shuffle(ordered)
    return ordered


def submit(client: Client, task: DemoTask, max_tokens: int) -> dict[str, Any]:
    """Submit the task with its check, and wait for its end. Raises `TimeoutError` after `TASK_S`."""
    row = client.post(
        "/api/tasks",
        {
            "prompt": task.prompt,
            "task_type": "vex",
            "temperature": 0,
            "max_tokens": max_tokens,
            "cache": False,
            "checks": {"require": [task.right]},
        },
    )
    deadline = time.monotonic() + TASK_S
    while row["state"] in ("queued", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"task {row['id']} is {row['state']} after {TASK_S:g} s")
        time.sleep(0.1)
        row = client.get(f"/api/tasks/{row['id']}")
    return row


@contextmanager
def daemon(folder: Path, settings: dict[str, Any]) -> Iterator[tuple[Client, dict[str, str]]]:
    """Run `kairos start` in its own folder, and yield a signed-in client and the environment for commands."""
    config = folder / "kairos.toml"
    config.write_text(tomlkit.dumps({"data_dir": "data", "server": {"port": 0}, **settings}))
    environment = {**os.environ, "KAIROS_CONFIG": str(config), "XDG_CONFIG_HOME": str(folder / "config")}
    with (folder / "log").open("wb") as log_file:
        command = [sys.executable, "-m", "kairos", "start"]
        process = subprocess.Popen(command, stdout=log_file, stderr=log_file, env=environment)
    try:
        deadline = time.monotonic() + READY_S
        while runtime(folder / "data").get("pid") != process.pid:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        path = folder / "config" / "kairos" / "credentials.json"
        yield Client(runtime(folder / "data")["address"], folder / "data", CredentialFile(path)), environment
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def log(line: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {line}")


def print_table(measured: Measurements) -> None:
    report = measured.report
    control, held_out = report["control"], report["held_out"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("held-out samples, as served, by the gate", percent(held_out["base"]), percent(held_out["candidate"]))
    name = f"control prompts ({control['prompts']}), as served"
    table.add_row(name, percent(control["base"]), percent(control["candidate"]))
    for number, (tasks, right, to_adapter) in enumerate(measured.rounds, 1):
        name = f"new tasks, round {number}: correct ({to_adapter} of {tasks} by the adapter)"
        table.add_row(name, f"{measured.before_right}/{measured.before_total}", f"{right}/{tasks}")
    table.add_row("same answers after the roll-back", "", f"{measured.restored}/{measured.compared}")
    console.print(table)
    console.print(f"evaluation gate: {report['ruling']}: {report['reason']}")
    seconds = f"training and gate {measured.training_s:.0f} s; in total {measured.seconds:.0f} s"
    console.print(f"{measured.rows} rows corrected; {seconds}")


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def unmet_expectations(measured: Measurements) -> list[str]:
    """Return the expected results that this run did not reach."""
    control = measured.report["control"]
    tasks, right, to_adapter = measured.rounds[-1] if measured.rounds else (20, 0, 0)
    expectations = {
        "the base answers less than 10 % correctly": measured.before_right < 0.1 * measured.before_total,
        "the gate promotes the adapter": measured.report["ruling"] == "promote",
        "at least 80 control prompts": control["prompts"] >= 80,
        "control prompts lose less than 5 points": control["candidate"] > control["base"] - 0.05,
        "80 % of the last round are correct": right >= 0.8 * tasks,
        "16 of 20 of the last round are routed to the adapter": to_adapter >= 0.8 * tasks,
        "the roll-back restores the answers": measured.compared > 0 and measured.restored == measured.compared,
    }
    return [expectation for expectation, met in expectations.items() if not met]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the learning loop from an empty dataset to a deployed adapter.")
    parser.add_argument("--keep", type=Path, help="Keep the data of the run in this folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # as root, PostgreSQL runs as another user
        settings = {"guardian": {"tries": 1}, "fine_tuning": {"held_out_share": 0.25}}
        with daemon(folder, settings) as (client, environment):
            measured = run_loop(client, environment)
    print_table(measured)
    unmet = unmet_expectations(measured)
    for expectation in unmet:
        console.print(f"[red]not met:[/red] {expectation}")
    return 1 if unmet else 0


if __name__ == "__main__":
    sys.exit(main())
