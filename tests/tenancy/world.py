"""Two projects in one application: data of every kind in the second, and callers with all kinds of access."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from sqlalchemy import insert, update

from kairos.db.models import (
    AdapterRow,
    AdapterState,
    DecisionRow,
    MetricRow,
    Role,
    SampleRow,
    TaskRow,
    TaskState,
    TrainingRunRow,
)
from kairos.db.repositories.access import members, people
from kairos.fine_tuning.adapters.adapters import KEPT
from kairos.lanes import Lane
from kairos.orchestration.queue.claim import NewTask
from kairos.tenancy import ProjectId, Scope, UserId, new_id
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.kairos_app import KairosApp
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import base_file

SECRET = "ninety-nine red balloons"
"""Part of every text of B. No response to others may contain it."""


@dataclass(frozen=True, slots=True)
class World:
    """A owns project X, B owns project Y. The other callers have limited, expired, forged or operator access."""

    app: KairosApp
    x: ProjectId
    y: ProjectId
    a_id: UserId
    b_id: UserId
    anonymous: Caller
    a: Caller
    b: Caller
    viewer: Caller
    removed: Caller
    key_of_x: Caller
    expired: Caller
    forged: Caller
    edited: Caller
    """A caller with A's token, its `project_id` changed to Y."""
    operator: Caller
    ollama: OllamaServer

    async def task(self, state: TaskState = TaskState.QUEUED) -> UUID:
        """Create a task of B."""
        made = await self.b.post("/api/tasks", {"prompt": SECRET, "task_type": SECRET})
        task_id = UUID(made["id"])
        if state is not TaskState.QUEUED:
            values = {"state": state, "output": SECRET}
            async with self.app.database.project(self.y) as session:
                await session.execute(update(TaskRow).where(TaskRow.id == task_id).values(values))
        return task_id

    async def provider(self) -> Reply:
        """Create a provider of B with a model. Nothing answers at its address."""
        return await _provider(self.b, "/api/project/providers", SECRET)

    async def shared_provider(self) -> Reply:
        """Create a provider that all projects share, with a model."""
        return await _provider(self.operator, "/api/providers", "shared")

    async def ollama_provider(self) -> Reply:
        """Create a provider of B on an Ollama server with the model `spare`, which the catalogue does not have."""
        return await _ollama_provider(self.b, "/api/project/providers", self.ollama)

    async def shared_ollama_provider(self) -> Reply:
        """Create such a provider that all projects share."""
        return await _ollama_provider(self.operator, "/api/providers", self.ollama)

    async def sample(self) -> UUID:
        """Create an approved sample of B."""
        sample_id = new_id()
        row = {"prompt": [{"role": "user", "content": SECRET}], "corrected_output": SECRET, "reason": SECRET}
        async with self.app.database.project(self.y) as session:
            values = {"project_id": self.y, "id": sample_id, "state": "approved", "source": "person", **row}
            await session.execute(insert(SampleRow).values(values))
        return sample_id

    async def run(self) -> UUID:
        """Create a training run of B whose task is queued."""
        run_id, new = new_id(), NewTask(prompt=SECRET, agent="TrainingAgent", lane=Lane.TRAIN)
        task, _ = await self.app.parts.orchestration.submissions.submit(self.y, self.b_id, new)
        async with self.app.database.project(self.y) as session:
            values = {"project_id": self.y, "id": run_id, "task_id": task.id, "base": SECRET, "error": SECRET}
            await session.execute(insert(TrainingRunRow).values(values))
        return run_id

    async def adapter(self, state: AdapterState = AdapterState.RETIRED) -> tuple[UUID, str]:
        """Create an adapter of B with its files. Returns its id and the name of its base."""
        run_id, base = await self.run(), f"base {new_id()}"
        with tempfile.TemporaryDirectory() as folder:
            for name in KEPT:
                (Path(folder) / name).write_text(SECRET)
            files = self.app.parts.learning.files
            stored = files.save(Path(folder), self.y, base, 1, {"run": str(run_id)})
        values = {
            "project_id": self.y,
            "id": run_id,
            "run_id": run_id,
            "base": base,
            "version": 1,
            "state": state,
            "path": stored.path,
            "sha256": stored.sha256,
            "bytes": stored.bytes,
            "manifest": {"base": SECRET},
            "changed_why": SECRET,
        }
        async with self.app.database.project(self.y) as session:
            await session.execute(insert(AdapterRow).values(values))
        return run_id, base

    async def decision(self) -> UUID:
        """Create a decision of B."""
        decision_id = new_id()
        values = {"task_type": SECRET, "task_type_source": "caller", "kind": "exploit", "chosen": SECRET}
        async with self.app.database.project(self.y) as session:
            row = {"project_id": self.y, "id": decision_id, "candidates": [], "excluded": [], **values}
            await session.execute(insert(DecisionRow).values(row))
        return decision_id

    async def call(self, model: str) -> UUID:
        """Create a failed call of B. Returns the id of its row."""
        values = {"id": new_id(), "model": model, "task_type": SECRET, "success": False, "error": SECRET}
        async with self.app.database.project(self.y) as session:
            await session.execute(insert(MetricRow).values(project_id=self.y, duration_s=1.0, **values))
        return values["id"]

    async def member(self, role: Role = Role.MEMBER) -> UUID:
        """Add a member to Y."""
        return (await person(self.app, self.anonymous, self.y, role, SECRET))[0]

    async def invitation(self) -> dict[str, Any]:
        return (await self.b.post("/api/invitations", {"role": "member"})).body

    async def key(self) -> UUID:
        return UUID((await self.b.post("/api/keys", {"name": SECRET, "scopes": ["tasks:read"]}))["id"])

    async def project(self) -> dict[str, Any]:
        """Create another project of B."""
        return (await self.b.post("/api/projects", {"name": f"{SECRET} {new_id()}"})).body


async def person(
    app: KairosApp, anonymous: Caller, project_id: ProjectId, role: Role, name: str = "P"
) -> tuple[UserId, Caller]:
    """Create a member with that role. Returns its id and a caller that is signed in."""
    user_id = UserId(new_id())
    async with app.database.scope(Scope(project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", name, operator=False)
        await members.add_member(session, project_id, user_id, role)
    return user_id, await signed_in(app.parts, anonymous, user_id, project_id)


async def create_world(app: KairosApp, anonymous: Caller, ollama: OllamaServer) -> World:
    """Create both projects and all callers."""
    owners = {}
    for name, label in (("x", "A's"), ("y", SECRET)):
        user_id, project_id = UserId(new_id()), ProjectId(new_id())
        async with app.database.scope(Scope(project_id, user_id, operator=True)) as session:
            await people.add_user(session, user_id, f"{user_id}@test", label, operator=False)
            await people.add_project(session, project_id, label, user_id)
        owners[name] = (user_id, project_id, await signed_in(app.parts, anonymous, user_id, project_id))
    (a_id, x, a), (b_id, y, b) = owners["x"], owners["y"]
    _, viewer = await person(app, anonymous, y, Role.VIEWER)
    gone_id, removed = await person(app, anonymous, y, Role.ADMIN)
    async with app.database.project(y) as session:
        await members.remove(session, y, gone_id)
    key = await a.post("/api/keys", {"name": "k", "scopes": ["tasks:read", "tasks:write", "models:read"]})
    local = await anonymous.post("/api/auth/local", {"secret": app.parts.api.local_secret})
    return World(
        app=app,
        x=x,
        y=y,
        a_id=a_id,
        b_id=b_id,
        anonymous=anonymous,
        a=a,
        b=b,
        viewer=viewer,
        removed=removed,
        key_of_x=anonymous.with_token(key["key"]),
        expired=anonymous.with_token(_resigned(app, b.token, {"exp": 1})),
        forged=anonymous.with_token(
            jwt.encode(_claims(b.token), b"k" * 32, headers=jwt.get_unverified_header(b.token))
        ),
        edited=anonymous.with_token(_edited(a.token, {"project_id": str(y)})),
        operator=anonymous.with_token(local["access_token"]),
        ollama=ollama,
    )


def _claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def _resigned(app: KairosApp, token: str, changed: dict[str, Any]) -> str:
    """Return the token with changed claims, signed with the key of Kairos."""
    header = jwt.get_unverified_header(token)
    key = app.parts.api.keys._keys[header["kid"]]
    return jwt.encode({**_claims(token), **changed}, key, algorithm="HS256", headers={"kid": header["kid"]})


def _edited(token: str, changed: dict[str, Any]) -> str:
    """Return the token with a changed payload and the original signature."""
    head, _, signature = token.split(".")
    payload = jwt.encode({**_claims(token), **changed}, "x" * 32, algorithm="HS256").split(".")[1]
    return f"{head}.{payload}.{signature}"


async def _provider(caller: Caller, path: str, named: str) -> Reply:
    """Create a provider with a model, and remove earlier ones: their number is limited."""
    await _remove_providers(caller, path)
    body = {"name": f"{named} {new_id()}", "kind": "openai-compatible", "address": "https://models.invalid/v1"}
    made = await caller.post(path, {**body, "key": "sk-ninety-nine"})
    added = await caller.post(f"{path}/{made['id']}/models", {"models": [{"upstream": named, "name": str(new_id())}]})
    assert added.status == 201, added.body
    return added


async def _ollama_provider(caller: Caller, path: str, ollama: OllamaServer) -> Reply:
    await _remove_providers(caller, path)
    ollama.store.add_base("spare", base_file())
    made = await caller.post(path, {"name": f"ollama {new_id()}", "kind": "ollama", "address": ollama.base_url})
    assert made.status == 201, made.body
    return made


async def _remove_providers(caller: Caller, path: str) -> None:
    for item in (await caller.get(path))["items"]:
        await caller.call("DELETE", f"{path}/{item['id']}")
