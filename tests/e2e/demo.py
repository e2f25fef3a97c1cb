"""A daemon with two projects of two people, and tasks with every result, for tests and screenshots."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.e2e.trained import TrainedAdapter, add_adapter_needing_approval
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
    """A person with a project. Everything in the project contains `marker`."""

    email: str
    project: str
    project_id: str
    marker: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate the requests of this person."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class PersonWithData(Person):
    """A person whose project has tasks, samples and an adapter."""

    tasks: list[str]
    samples: list[str]
    """The ids of the samples: of the rejected drafts, then of the correction."""
    adapter: TrainedAdapter
    """An adapter of the model `small`. It needs approval."""
    provider: str
    """The id of the project's own provider, which has no models."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The daemon and its two people."""

    daemon: DaemonProcess
    address: str
    ada: PersonWithData
    ben: PersonWithData


@asynccontextmanager
async def demo(addresses: Addresses, folder: Path) -> AsyncIterator[Demo]:
    """Start a daemon with scripted models, in which Ada and Ben each own a project."""
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
            # The host of the links: a session in a browser is valid for one host only.
            address = runtime(folder / "kairos" / "data")["address"].replace("127.0.0.1", "localhost")
            ada = await _add_data(daemon, addresses, await sign_up(daemon, "Ada", "Search", "aurora"))
            ben = await _add_data(daemon, addresses, await sign_up(daemon, "Ben", "Billing", "borealis"))
            yield Demo(daemon, address, ada, ben)
        finally:
            await daemon.stop()


async def sign_up(daemon: DaemonProcess, name: str, project: str, marker: str) -> Person:
    """Create a project, and the account of its owner by an invitation."""
    client = daemon.client()
    email = f"{name.lower()}-{uuid.uuid4().hex[:6]}@{marker}.test"
    created = await daemon.ask("POST", "/api/projects", {"name": f"{project} {marker}"})
    switched = await daemon.ask("POST", f"/api/projects/{created['id']}/switch")
    owner = {"Authorization": f"Bearer {switched['access_token']}"}
    invitation = client.open("POST", "/api/invitations", {"role": "owner"}, owner)
    body = {"token": invitation["link"].split("#")[1], "email": email, "name": f"{name} {marker}", "password": PASSWORD}
    tokens = client.open("POST", "/api/auth/register", body)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    user = client.open("GET", "/api/auth/me", headers=headers)
    members = client.open("GET", "/api/members", headers=headers)["items"]
    for member in members:
        if member["user_id"] != user["user_id"]:  # the local operator, who created the project
            client.open("DELETE", f"/api/members/{member['user_id']}", headers=headers)
    return Person(email, f"{project} {marker}", created["id"], marker, tokens["access_token"])


async def _add_data(daemon: DaemonProcess, addresses: Addresses, person: Person) -> PersonWithData:
    """Add tasks, a correction, an API key, an invitation and an adapter to the person's project."""
    client, marker, headers = daemon.client(), person.marker, person.headers
    tasks = []
    for task in TASKS:
        body = {**task, "prompt": f"{task['prompt']} ({marker})"}
        tasks.append(client.open("POST", "/api/tasks", body, headers)["id"])
        await eventually(lambda: _has_ended(client, headers, tasks[-1]), 30, "a task of the demo ends")
    client.open("POST", f"/api/tasks/{tasks[1]}/label", {"label": "edit", "output": f"It was {marker}."}, headers)
    client.open("POST", "/api/keys", {"name": f"ci {marker}", "scopes": ["tasks:read"]}, headers)
    client.open("POST", "/api/invitations", {"role": "viewer", "email": f"guest@{marker}.test"}, headers)
    rows = client.open("GET", "/api/dataset", headers=headers)["items"]
    samples = [row["id"] for row in reversed(rows)]
    adapter = await add_adapter_needing_approval(
        addresses, daemon.folder / "data" / "models", person.project_id, "small", marker
    )
    provider = {"kind": "openai", "name": f"OpenAI {marker}", "key": "sk-demo"}
    provider_id = client.open("POST", "/api/project/providers", provider, headers)["id"]
    base_fields = (person.email, person.project, person.project_id, marker, person.token)
    return PersonWithData(*base_fields, tasks, samples, adapter, provider_id)


def _has_ended(client: Any, headers: dict[str, str], task_id: str) -> bool:
    return client.open("GET", f"/api/tasks/{task_id}", headers=headers)["finished_at"] is not None
