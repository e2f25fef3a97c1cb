"""The whole learning loop on this machine, from nothing, with the embedded model: `make demo-learning`.

A team has an API of its own, Vex, that no model can know. Tasks are submitted with a rule for the right answer; the
guardian rejects what the model makes up; the rejected answers fill the dataset; they are corrected through the API;
`kairos fine-tune` trains an adapter, has the gate judge it, and brings it into service; the router moves the next tasks
to it by what it measures; a roll-back restores the former answers. Every figure in the table comes from this run.
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
IN_SERVICE = ("canary", "live")
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
"""Things that the corrected tasks speak of, each with two of the verbs."""
NEW = ("table", "spoon", "window", "bicycle", "hammer", "pillow", "guitar", "oven", "clock", "shirt")
"""Things that stand in no row of the dataset, each with all four."""
READY_S, TASK_S, TRAINING_S = 60.0, 120.0, 1500.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A task, with the one right answer."""

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
    """How much of everything. The short form proves that the loop closes, the long one how good it gets."""

    known: Sequence[str] = tuple(KNOWN)
    rounds: int = 2
    """Of twenty tasks each, after the promotion."""
    epochs: float = 4
    answer_tokens: int = 64
    """The longest answer to a task; a right one takes a dozen."""


@dataclass(slots=True)
class Told:
    """What was measured."""

    before_right: int = 0
    asked: int = 0
    rows: int = 0
    training_s: float = 0
    report: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    adapter: str = ""
    rounds: list[tuple[int, int, int]] = field(default_factory=list)
    """For each round: tasks, right answers, and how many the adapter was given."""
    restored: int = 0
    compared: int = 0
    seconds: float = 0


class Story:
    """Tells it to one daemon, through the API alone."""

    def __init__(self, client: Client, scale: Scale) -> None:
        self._client = client
        self._scale = scale
        self.told = Told()
        self._fresh = shuffled(Wish(verb, thing) for verb, thing in itertools.product(VERBS, NEW))[: 20 * scale.rounds]
        self._before: dict[Wish, dict[str, Any]] = {}

    def ask_the_base(self) -> None:
        """In another project, so that what comes later is in no row of this one's dataset."""
        elsewhere = self._client.in_project(self._client.post("/api/projects", {"name": "Before"})["id"])
        self._before = {wish: self._ask(wish, elsewhere) for wish in self._fresh}
        self.told.asked = len(self._before)
        self.told.before_right = sum(task["state"] == "succeeded" for task in self._before.values())

    def fill_the_dataset(self) -> None:
        """Tasks come in, and the guardian holds every answer against the task's rule."""
        for wish in self._known():
            self._ask(wish)

    def correct(self) -> None:
        """Row after row, as the labelling page does it."""
        right = {wish.prompt: wish.right for wish in self._known()}
        while row := self._client.post("/api/dataset/next"):
            asked = next(message["content"] for message in row["prompt"] if message["role"] == "user")
            body = {"version": row["version"], "corrected_output": right[asked], "state": "approved"}
            self._client.call("PATCH", f"/api/dataset/{row['id']}", body)
            self.told.rows += 1

    def fine_tune(self, environment: dict[str, str]) -> None:
        """By the command that a person would give."""
        epochs, began = str(self._scale.epochs), time.monotonic()
        command = [sys.executable, "-m", "kairos", "fine-tune", "--model", BASE, "--epochs", epochs, "--watch"]
        subprocess.run(command, env=environment, check=True, timeout=TRAINING_S)
        self.told.training_s = time.monotonic() - began

    def look_at_the_adapter(self) -> None:
        adapter = self._client.get(f"/api/adapters/{self._adapters()[0]['id']}")
        self.told.report, self.told.state, self.told.adapter = adapter["report"], adapter["state"], adapter["name"]

    def ask_the_router(self, number: int) -> None:
        """Twenty tasks that nobody has corrected; the router chooses."""
        tasks = [self._ask(wish) for wish in self._fresh[20 * number : 20 * (number + 1)]]
        right = sum(task["state"] == "succeeded" for task in tasks)
        self.told.rounds.append((len(tasks), right, sum(task["model"] == self.told.adapter for task in tasks)))

    def roll_back(self) -> None:
        """To the plain base, which is asked again what it was asked at first."""
        while any(one["state"] in IN_SERVICE for one in self._adapters()):
            self._client.post("/api/adapters/roll-back", {"base": BASE})
        again = {wish: self._ask(wish) for wish in self._fresh[:5]}
        self.told.compared = len(again)
        self.told.restored = sum(task["output"] == self._before[wish]["output"] for wish, task in again.items())

    def _ask(self, wish: Wish, client: Client | None = None) -> dict[str, Any]:
        return ask(client or self._client, wish, self._scale.answer_tokens)

    def _known(self) -> list[Wish]:
        return shuffled(
            Wish(VERBS[(number + turn) % 4], thing)
            for number, thing in enumerate(self._scale.known)
            for turn in (0, 1 + (number // 4) % 3)
        )

    def _adapters(self) -> list[dict[str, Any]]:
        return self._client.get("/api/adapters")["items"]


def tell(client: Client, environment: dict[str, str]) -> Told:
    """The whole of it, with a line for each step."""
    began, story = time.monotonic(), Story(client, Scale())
    say("new tasks are asked of the base, in another project, to know where it stands")
    story.ask_the_base()
    say("tasks come in; the guardian holds every answer against the task's rule")
    story.fill_the_dataset()
    say("a person corrects what was rejected, one row after another")
    story.correct()
    say("kairos fine-tune")
    story.fine_tune(environment)
    story.look_at_the_adapter()
    if story.told.state in IN_SERVICE:
        for number in range(story.told.asked // 20):
            say(f"the next 20 tasks, round {number + 1}; the router chooses")
            story.ask_the_router(number)
        say("roll back, and ask again what the base was asked at first")
        story.roll_back()
    story.told.seconds = time.monotonic() - began
    return story.told


def shuffled(wishes: Iterable[Wish]) -> list[Wish]:
    """In an order without a pattern, the same every time."""
    ordered = list(wishes)
    random.Random(7).shuffle(ordered)
    return ordered


def ask(client: Client, wish: Wish, max_tokens: int) -> dict[str, Any]:
    """Submit the task with its rule, and wait for the verdict."""
    task = client.post(
        "/api/tasks",
        {
            "prompt": wish.prompt,
            "task_type": "vex",
            "temperature": 0,
            "max_tokens": max_tokens,
            "cache": False,
            "checks": {"require": [wish.right]},
        },
    )
    deadline = time.monotonic() + TASK_S
    while task["state"] in ("queued", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"task {task['id']} is {task['state']} after {TASK_S:g} s")
        time.sleep(0.1)
        task = client.get(f"/api/tasks/{task['id']}")
    return task


@contextmanager
def daemon(folder: Path, settings: dict[str, Any]) -> Iterator[tuple[Client, dict[str, str]]]:
    """`kairos start` on a folder of its own, and a client that is signed in."""
    config = folder / "kairos.toml"
    config.write_text(tomlkit.dumps({"data_dir": "data", "server": {"port": 0}, **settings}))
    environment = {**os.environ, "KAIROS_CONFIG": str(config), "XDG_CONFIG_HOME": str(folder / "config")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "kairos", "start"], stdout=log, stderr=log, env=environment)
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


def say(line: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {line}")


def show(told: Told) -> None:
    report = told.report
    control, held_out = report["control"], report["held_out"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("what", "before", "after"):
        table.add_column(name, justify="left" if name == "what" else "right")
    table.add_row("held-out rows, as served, by the gate", share(held_out["base"]), share(held_out["candidate"]))
    words = f"ordinary prompts ({len(control['pairs'])}), as served"
    table.add_row(words, share(control["base"]), share(control["candidate"]))
    for number, (tasks, right, to_adapter) in enumerate(told.rounds, 1):
        name = f"new tasks, round {number}: right ({to_adapter} of {tasks} to the adapter)"
        table.add_row(name, f"{told.before_right}/{told.asked}", f"{right}/{tasks}")
    table.add_row("answers as before after the roll-back", "", f"{told.restored}/{told.compared}")
    console.print(table)
    console.print(f"the gate: {report['ruling']}: {report['reason']}")
    words = f"{told.rows} rows corrected; training and gate {told.training_s:.0f} s; the whole {told.seconds:.0f} s"
    console.print(words)


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def holds(told: Told) -> list[str]:
    """What the story promises and this run did not keep."""
    control = told.report["control"]
    tasks, right, to_adapter = told.rounds[-1] if told.rounds else (20, 0, 0)
    promises = {
        "the base gets under 10 % right": told.before_right < 0.1 * told.asked,
        "the gate promotes": told.report["ruling"] == "promote",
        "at least 40 ordinary prompts": len(control["pairs"]) >= 40,
        "ordinary prompts lose 10 points at most": control["candidate"] >= control["base"] - 0.1,
        "80 % of the last round are right": right >= 0.8 * tasks,
        "16 of 20 of the last round go to the adapter": to_adapter >= 0.8 * tasks,
        "the roll-back restores the answers": told.compared > 0 and told.restored == told.compared,
    }
    return [promise for promise, kept in promises.items() if not kept]


def main() -> int:
    parser = argparse.ArgumentParser(description="The learning loop from nothing to a better model in service.")
    parser.add_argument("--keep", type=Path, help="Keep the data of the run in this folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        settings = {"guardian": {"tries": 1}, "fine_tuning": {"held_out_share": 0.25}}
        with daemon(folder, settings) as (client, environment):
            told = tell(client, environment)
    show(told)
    broken = holds(told)
    for promise in broken:
        console.print(f"[red]not so:[/red] {promise}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
