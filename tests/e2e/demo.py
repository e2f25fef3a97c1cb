"""A small company on one Kairos: two projects, people, and tasks that came out in every way. For tests and pictures."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.e2e.trained import Trained, left_to_a_person
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.plugins import put

WEATHER = Path(__file__).parents[2] / "examples" / "plugins" / "WeatherPlugin.py"
PASSWORD = "correct horse battery"
GOOD = "def median(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]\n"
ANSWERS = {
    "incident": "The search index was rebuilt twice and slowed every query for 40 minutes.",
    "release note": "Search is faster: results come in half the time.",
    "That answer was rejected": "Search is faster: results come in half the time. Nothing else changed.",
    "owner": "The payments team owns the billing service.",
    "": GOOD,
}
TASKS: list[dict[str, Any]] = [
    {"prompt": "Write a Python function median(values).", "task_type": "code", "checks": {"require": ["def median"]}},
    {"prompt": "Summarise the incident of Monday in one line.", "task_type": "summary"},
    {"prompt": "Draft the release note.", "task_type": "text", "checks": {"require": ["BREAKING"]}},
    {"prompt": "Name the owner of the billing service.", "task_type": "lookup", "temperature": 0},
    {"prompt": "Name the owner of the billing service.", "task_type": "lookup", "temperature": 0},
]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a project of their own, and a word that stands in everything of it."""

    email: str
    project: str
    project_id: str
    word: str
    token: str

    @property
    def signed(self) -> dict[str, str]:
        """The headers of their requests."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class Somebody(Person):
    """With what they have done."""

    tasks: list[str]
    samples: list[str]
    """Rows of the dataset: the rejected drafts, then the correction."""
    adapter: Trained
    """Of the model `small`; it needs approval."""


@dataclass(frozen=True, slots=True)
class Demo:
    daemon: DaemonProcess
    address: str
    ada: Somebody
    ben: Somebody


@asynccontextmanager
async def demo(addresses: Addresses, folder: Path) -> AsyncIterator[Demo]:
    """A daemon with scripted models; Ada in her project, Ben in his."""
    async with ModelServer() as server:
        server.add(ScriptedModel("small", answer=ANSWERS, first_token_s=0.02, tokens_per_s=400))
        server.add(ScriptedModel("large", answer=ANSWERS, first_token_s=0.1, tokens_per_s=200))
        models = [
            {"name": name, "base_url": server.base_url, "local": local, "context": 8192, **price}
            for name, local, price in (("small", True, {}), ("large", False, {"price": {"input": 1.0, "output": 4.0}}))
        ]
        settings = on_engines(addresses, models=models, embedded={"model": False})
        daemon = DaemonProcess(folder / "kairos", settings)
        put(daemon.folder / "plugins", {"WeatherPlugin.py": WEATHER.read_text(), "broken.py": "import no_such_library"})
        await daemon.start()
        try:
            # As links begin: a browser keeps its session for this host alone.
            address = runtime(folder / "kairos" / "data")["address"].replace("127.0.0.1", "localhost")
            ada = await _busy(daemon, addresses, await signed_up(daemon, "Ada", "Search", "aurora"))
            ben = await _busy(daemon, addresses, await signed_up(daemon, "Ben", "Billing", "borealis"))
            yield Demo(daemon, address, ada, ben)
        finally:
            await daemon.stop()


async def signed_up(daemon: DaemonProcess, name: str, project: str, word: str) -> Person:
    """Made as people make themselves: a project, an invitation, an account."""
    client = daemon.client()
    email = f"{name.lower()}-{uuid.uuid4().hex[:6]}@{word}.test"
    made = await daemon.ask("POST", "/api/projects", {"name": f"{project} {word}"})
    switched = await daemon.ask("POST", f"/api/projects/{made['id']}/switch")
    owner = {"Authorization": f"Bearer {switched['access_token']}"}
    invited = client.open("POST", "/api/invitations", {"role": "owner"}, owner)
    body = {"token": invited["link"].split("#")[1], "email": email, "name": f"{name} {word}", "password": PASSWORD}
    tokens = client.open("POST", "/api/auth/register", body)
    signed = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = client.open("GET", "/api/auth/me", headers=signed)
    admin = client.open("GET", "/api/members", headers=signed)["items"]
    for other in admin:
        if other["user_id"] != me["user_id"]:  # the local operator made the project, and leaves it
            client.open("DELETE", f"/api/members/{other['user_id']}", headers=signed)
    return Person(email, f"{project} {word}", made["id"], word, tokens["access_token"])


async def _busy(daemon: DaemonProcess, addresses: Addresses, person: Person) -> Somebody:
    """Tasks, a correction, a key, an invitation, and an adapter."""
    client, word, signed = daemon.client(), person.word, person.signed
    tasks = []
    for task in TASKS:
        body = {**task, "prompt": f"{task['prompt']} ({word})"}
        tasks.append(client.open("POST", "/api/tasks", body, signed)["id"])
        await eventually(lambda: _ended(client, signed, tasks[-1]), 30, "the demo's task ends")
    client.open("POST", f"/api/tasks/{tasks[1]}/label", {"label": "edit", "output": f"It was {word}."}, signed)
    client.open("POST", "/api/keys", {"name": f"ci {word}", "scopes": ["tasks:read"]}, signed)
    client.open("POST", "/api/invitations", {"role": "viewer", "email": f"guest@{word}.test"}, signed)
    rows = client.open("GET", "/api/dataset", headers=signed)["items"]
    samples = [row["id"] for row in reversed(rows)]
    adapter = await left_to_a_person(addresses, daemon.folder / "data" / "models", person.project_id, "small", word)
    known = (person.email, person.project, person.project_id, word, person.token)
    return Somebody(*known, tasks, samples, adapter)


def _ended(client: Any, headers: dict[str, str], task_id: str) -> bool:
    return client.open("GET", f"/api/tasks/{task_id}", headers=headers)["finished_at"] is not None
