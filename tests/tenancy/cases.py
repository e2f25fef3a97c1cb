"""One request by B for each route, with real ids of B. `test_every_route_is_covered` fails if a route is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from kairos.db.models import AdapterState, TaskState
from kairos.tenancy import new_id
from tests.tenancy.world import World


class Kind(StrEnum):
    """What a route gives access to."""

    NAMED = "named by an id in its address, and of one project or person"
    LISTED = "whatever the active project holds"
    OWN = "the caller's own account"
    OPERATOR = "the whole installation: operators only"
    OPEN = "asked without a credential"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request, and the ids of B that no response to others may contain."""

    path: str
    body: Any = None
    ids: tuple[Any, ...] = field(default=())


Prepare = Callable[[World], Awaitable[ApiRequest]]


@dataclass(frozen=True, slots=True)
class Case:
    """`prepare` creates the data that the route needs in B's project and returns B's request."""

    kind: Kind
    prepare: Prepare
    viewer_may: bool = False
    """Whether a viewer of B's project may make the request."""
    by_operator: bool = False


def fixed(path: str, body: Any = None) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        return ApiRequest(path, body)

    return prepare


def of_task(tail: str = "", body: Any = None, state: TaskState = TaskState.QUEUED) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        task_id = await world.task(state)
        return ApiRequest(f"/api/tasks/{task_id}{tail}", body, (task_id,))

    return prepare


async def listed_tasks(world: World) -> ApiRequest:
    return ApiRequest("/api/tasks", ids=(await world.task(),))


async def decision(world: World) -> ApiRequest:
    decision_id = await world.decision()
    return ApiRequest(f"/api/decisions/{decision_id}", ids=(decision_id,))


async def listed_traffic(world: World) -> ApiRequest:
    return ApiRequest("/api/router/traffic", ids=(await world.decision(),))


async def model_history(world: World) -> ApiRequest:
    return ApiRequest("/api/models/history?name=echo", ids=(await world.call("echo"),))


async def model_routing(world: World) -> ApiRequest:
    return ApiRequest("/api/models/routing?name=echo", ids=(await world.call("echo"),))


async def member(world: World) -> ApiRequest:
    user_id = await world.member()
    return ApiRequest(f"/api/members/{user_id}", {"role": "viewer"}, (user_id,))


async def listed_members(world: World) -> ApiRequest:
    return ApiRequest("/api/members", ids=(await world.member(),))


async def invitation(world: World) -> ApiRequest:
    made = await world.invitation()
    return ApiRequest(f"/api/invitations/{made['id']}", ids=(made["id"],))


async def listed_invitations(world: World) -> ApiRequest:
    return ApiRequest("/api/invitations", ids=((await world.invitation())["id"],))


async def key(world: World) -> ApiRequest:
    key_id = await world.key()
    return ApiRequest(f"/api/keys/{key_id}", ids=(key_id,))


async def listed_keys(world: World) -> ApiRequest:
    return ApiRequest("/api/keys", ids=(await world.key(),))


async def listed_projects(world: World) -> ApiRequest:
    return ApiRequest("/api/projects", ids=((await world.project())["id"], world.y))


def of_project(tail: str = "", body: Any = None, query: str = "") -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        made = await world.project()
        return ApiRequest(f"/api/projects/{made['id']}{tail}{query.format(**made)}", body, (UUID(made["id"]),))

    return prepare


async def session(world: World) -> ApiRequest:
    opened = await world.app.parts.api.accounts.open_session(world.b_id, "t", world.y)
    del opened
    items = (await world.b.get("/api/auth/sessions"))["items"]
    away = next(item["id"] for item in items if not item["current"])
    return ApiRequest(f"/api/auth/sessions/{away}", ids=(away,))


def of_user(tail: str, body: Any) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        return ApiRequest(f"/api/users/{await world.member()}{tail}", body)

    return prepare


async def reset_by_email(world: World) -> ApiRequest:
    return ApiRequest("/api/users/reset-link", {"email": f"{await world.member()}@test"})


def of_sample(tail: str = "", body: Any = None) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        sample_id = await world.sample()
        return ApiRequest(f"/api/dataset/{sample_id}{tail}", body, (sample_id,))

    return prepare


async def listed_samples(world: World) -> ApiRequest:
    return ApiRequest("/api/dataset", ids=(await world.sample(),))


async def exported_samples(world: World) -> ApiRequest:
    await world.sample()
    return ApiRequest("/api/dataset/export")


async def next_sample(world: World) -> ApiRequest:
    return ApiRequest("/api/dataset/next", ids=(await world.sample(),))


async def imported_rows(world: World) -> ApiRequest:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    return ApiRequest("/api/dataset/import", {"messages": messages})


async def undone_sample(world: World) -> ApiRequest:
    sample_id = await world.sample()
    await world.b.call("PATCH", f"/api/dataset/{sample_id}", json={"version": 1, "state": "rejected"})
    return ApiRequest(f"/api/dataset/{sample_id}/undo", None, (sample_id,))


def of_run(tail: str = "") -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        run_id = await world.run()
        return ApiRequest(f"/api/training/{run_id}{tail}", None, (run_id,))

    return prepare


async def listed_runs(world: World) -> ApiRequest:
    return ApiRequest("/api/training", ids=(await world.run(),))


async def started_training(world: World) -> ApiRequest:
    """Start a training with enough samples. Cancels waiting runs of the same base first."""
    for _ in range(12):
        await world.sample()
    for run in (await world.b.get("/api/training"))["items"]:
        if run["base"] == "echo" and run["state"] == "waiting":
            await world.b.post(f"/api/training/{run['id']}/cancel")
    return ApiRequest("/api/training", {"base": "echo"})


async def planned_training(world: World) -> ApiRequest:
    return ApiRequest("/api/training/plan", {"base": "echo"}, (await world.sample(),))


async def checked_base(world: World) -> ApiRequest:
    return ApiRequest("/api/training/base-check", {"base": "echo"}, (await world.sample(),))


def of_adapter(tail: str = "", state: AdapterState = AdapterState.RETIRED) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        adapter_id, _ = await world.adapter(state)
        return ApiRequest(f"/api/adapters/{adapter_id}{tail}", None, (adapter_id,))

    return prepare


async def listed_adapters(world: World) -> ApiRequest:
    return ApiRequest("/api/adapters", ids=await world.adapter())


async def rolled_back(world: World) -> ApiRequest:
    adapter_id, base = await world.adapter(AdapterState.LIVE)
    return ApiRequest("/api/adapters/roll-back", {"base": base}, (adapter_id,))


async def changed_config(world: World) -> ApiRequest:
    known = await world.b.get("/api/config")
    body = {"changes": {"project.weight": 2 + known["project_version"] / 8}}
    return ApiRequest("/api/config", {**body, "project_version": known["project_version"], "version": known["version"]})


async def reverted_config(world: World) -> ApiRequest:
    request = await changed_config(world)
    await world.b.call("PATCH", request.path, json=request.body)
    version = (await world.b.get("/api/config"))["project_version"]
    return ApiRequest("/api/config/revert", {"whose": "project", "to": version - 1, "version": version})


def of_provider(tail: str = "", body: Any = None) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        made = await world.provider()
        path = tail.format(model=made["models"][0]["id"])
        return ApiRequest(f"/api/project/providers/{made['id']}{path}", body, (made["id"],))

    return prepare


async def listed_providers(world: World) -> ApiRequest:
    return ApiRequest("/api/project/providers", ids=((await world.provider())["id"],))


def of_shared_provider(tail: str = "", body: Any = None) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        made = await world.shared_provider()
        path = tail.format(model=made["models"][0]["id"])
        return ApiRequest(f"/api/providers/{made['id']}{path}", body)

    return prepare


def of_ollama(tail: str, body: Any = None) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        made = await world.ollama_provider()
        return ApiRequest(f"/api/project/providers/{made['id']}/ollama{tail}", body, (made["id"],))

    return prepare


def of_shared_ollama(tail: str, body: Any = None) -> Prepare:
    async def prepare(world: World) -> ApiRequest:
        made = await world.shared_ollama_provider()
        return ApiRequest(f"/api/providers/{made['id']}/ollama{tail}", body)

    return prepare


async def cancelled_pull(world: World) -> ApiRequest:
    pulls = f"/api/project/providers/{(await world.ollama_provider())['id']}/ollama/pulls"
    pull = await world.b.post(pulls, PULL)
    return ApiRequest(f"{pulls}/{pull['id']}/cancel", ids=(pulls.split("/")[4], pull["id"]))


async def cancelled_shared_pull(world: World) -> ApiRequest:
    pulls = f"/api/providers/{(await world.shared_ollama_provider())['id']}/ollama/pulls"
    return ApiRequest(f"{pulls}/{(await world.operator.post(pulls, PULL))['id']}/cancel")


async def new_provider(world: World) -> ApiRequest:
    return ApiRequest("/api/project/providers", {**PROVIDER, "name": f"new {new_id()}"})


async def new_shared_provider(world: World) -> ApiRequest:
    return ApiRequest("/api/providers", {**PROVIDER, "name": f"new {new_id()}"})


PROVIDER = {"kind": "openai-compatible", "address": "https://models.invalid/v1"}
PROVIDER_TEST = {"kind": "openai-compatible", "address": "https://models.invalid/v1"}
MODELS = {"models": [{"upstream": "another"}]}
PULL = {"model": "unknown-to-the-registry"}


CASES: dict[tuple[str, str], Case] = {
    ("POST", "/api/tasks"): Case(Kind.LISTED, fixed("/api/tasks", {"prompt": "x"})),
    ("GET", "/api/tasks"): Case(Kind.LISTED, listed_tasks, viewer_may=True),
    ("GET", "/api/tasks/{task_id}"): Case(Kind.NAMED, of_task(), viewer_may=True),
    ("GET", "/api/tasks/{task_id}/events"): Case(Kind.NAMED, of_task("/events"), viewer_may=True),
    ("POST", "/api/tasks/{task_id}/cancel"): Case(Kind.NAMED, of_task("/cancel")),
    ("POST", "/api/tasks/{task_id}/retry"): Case(Kind.NAMED, of_task("/retry", state=TaskState.FAILED)),
    ("POST", "/api/tasks/{task_id}/label"): Case(
        Kind.NAMED, of_task("/label", {"label": "accept"}, TaskState.SUCCEEDED)
    ),
    ("POST", "/api/events/ticket"): Case(Kind.LISTED, fixed("/api/events/ticket"), viewer_may=True),
    ("GET", "/api/decisions/{decision_id}"): Case(Kind.NAMED, decision, viewer_may=True),
    ("GET", "/api/leaderboard"): Case(Kind.LISTED, fixed("/api/leaderboard"), viewer_may=True),
    ("GET", "/api/training"): Case(Kind.LISTED, listed_runs, viewer_may=True),
    ("GET", "/api/training/bases"): Case(Kind.LISTED, fixed("/api/training/bases"), viewer_may=True),
    ("POST", "/api/training/plan"): Case(Kind.LISTED, planned_training, viewer_may=True),
    ("POST", "/api/training/base-check"): Case(Kind.LISTED, checked_base),
    ("POST", "/api/training"): Case(Kind.LISTED, started_training),
    ("GET", "/api/training/{run_id}"): Case(Kind.NAMED, of_run(), viewer_may=True),
    ("POST", "/api/training/{run_id}/cancel"): Case(Kind.NAMED, of_run("/cancel")),
    ("GET", "/api/adapters"): Case(Kind.LISTED, listed_adapters, viewer_may=True),
    ("GET", "/api/adapters/{adapter_id}"): Case(Kind.NAMED, of_adapter(), viewer_may=True),
    ("GET", "/api/adapters/{adapter_id}/gguf"): Case(Kind.NAMED, of_adapter("/gguf")),
    ("POST", "/api/adapters/{adapter_id}/promote"): Case(Kind.NAMED, of_adapter("/promote")),
    ("POST", "/api/adapters/{adapter_id}/refuse"): Case(Kind.NAMED, of_adapter("/refuse", AdapterState.NEEDS_APPROVAL)),
    ("POST", "/api/adapters/roll-back"): Case(Kind.LISTED, rolled_back),
    ("DELETE", "/api/adapters/{adapter_id}"): Case(Kind.NAMED, of_adapter()),
    ("GET", "/api/dataset"): Case(Kind.LISTED, listed_samples, viewer_may=True),
    ("GET", "/api/dataset/stats"): Case(Kind.LISTED, fixed("/api/dataset/stats"), viewer_may=True),
    ("GET", "/api/dataset/export"): Case(Kind.LISTED, exported_samples, viewer_may=True),
    ("POST", "/api/dataset/next"): Case(Kind.LISTED, next_sample),
    ("POST", "/api/dataset/import"): Case(Kind.LISTED, imported_rows),
    ("GET", "/api/dataset/{sample_id}"): Case(Kind.NAMED, of_sample(), viewer_may=True),
    ("PATCH", "/api/dataset/{sample_id}"): Case(Kind.NAMED, of_sample(body={"version": 1, "state": "rejected"})),
    ("POST", "/api/dataset/{sample_id}/clear-secrets"): Case(Kind.NAMED, of_sample("/clear-secrets", {"version": 1})),
    ("POST", "/api/dataset/{sample_id}/undo"): Case(Kind.NAMED, undone_sample),
    ("DELETE", "/api/dataset/{sample_id}"): Case(Kind.NAMED, of_sample()),
    ("GET", "/api/models"): Case(Kind.LISTED, fixed("/api/models"), viewer_may=True),
    ("GET", "/api/models/history"): Case(Kind.LISTED, model_history, viewer_may=True),
    ("GET", "/api/models/routing"): Case(Kind.LISTED, model_routing, viewer_may=True),
    ("GET", "/api/models/details"): Case(Kind.LISTED, fixed("/api/models/details?name=echo"), viewer_may=True),
    ("GET", "/api/project/providers"): Case(Kind.LISTED, listed_providers),
    ("POST", "/api/project/providers"): Case(Kind.LISTED, new_provider),
    ("POST", "/api/project/providers/test"): Case(Kind.LISTED, fixed("/api/project/providers/test", PROVIDER_TEST)),
    ("GET", "/api/project/providers/{provider_id}"): Case(Kind.NAMED, of_provider()),
    ("PATCH", "/api/project/providers/{provider_id}"): Case(Kind.NAMED, of_provider("", {"version": 1, "key": None})),
    ("DELETE", "/api/project/providers/{provider_id}"): Case(Kind.NAMED, of_provider()),
    ("GET", "/api/project/providers/{provider_id}/models"): Case(Kind.NAMED, of_provider("/models")),
    ("POST", "/api/project/providers/{provider_id}/models"): Case(Kind.NAMED, of_provider("/models", MODELS)),
    ("PATCH", "/api/project/providers/{provider_id}/models/{model_id}"): Case(
        Kind.NAMED, of_provider("/models/{model}", {"tier": 0.5})
    ),
    ("DELETE", "/api/project/providers/{provider_id}/models/{model_id}"): Case(
        Kind.NAMED, of_provider("/models/{model}")
    ),
    ("GET", "/api/project/providers/{provider_id}/ollama/models"): Case(Kind.NAMED, of_ollama("/models")),
    ("DELETE", "/api/project/providers/{provider_id}/ollama/models/{name}"): Case(
        Kind.NAMED, of_ollama("/models/spare")
    ),
    ("GET", "/api/project/providers/{provider_id}/ollama/pulls"): Case(Kind.NAMED, of_ollama("/pulls")),
    ("POST", "/api/project/providers/{provider_id}/ollama/pulls"): Case(Kind.NAMED, of_ollama("/pulls", PULL)),
    ("POST", "/api/project/providers/{provider_id}/ollama/pulls/{pull_id}/cancel"): Case(Kind.NAMED, cancelled_pull),
    ("GET", "/api/providers/{provider_id}/ollama/models"): Case(Kind.OPERATOR, of_shared_ollama("/models")),
    ("DELETE", "/api/providers/{provider_id}/ollama/models/{name}"): Case(
        Kind.OPERATOR, of_shared_ollama("/models/spare")
    ),
    ("GET", "/api/providers/{provider_id}/ollama/pulls"): Case(Kind.OPERATOR, of_shared_ollama("/pulls")),
    ("POST", "/api/providers/{provider_id}/ollama/pulls"): Case(Kind.OPERATOR, of_shared_ollama("/pulls", PULL)),
    ("POST", "/api/providers/{provider_id}/ollama/pulls/{pull_id}/cancel"): Case(Kind.OPERATOR, cancelled_shared_pull),
    ("GET", "/api/providers"): Case(Kind.OPERATOR, fixed("/api/providers")),
    ("POST", "/api/providers"): Case(Kind.OPERATOR, new_shared_provider),
    ("GET", "/api/providers/kinds"): Case(Kind.OWN, fixed("/api/providers/kinds")),
    ("GET", "/api/providers/local"): Case(Kind.OPERATOR, fixed("/api/providers/local")),
    ("POST", "/api/providers/rotate-master-key"): Case(Kind.OPERATOR, fixed("/api/providers/rotate-master-key")),
    ("POST", "/api/providers/test"): Case(Kind.OPERATOR, fixed("/api/providers/test", PROVIDER_TEST)),
    ("GET", "/api/providers/{provider_id}"): Case(Kind.OPERATOR, of_shared_provider()),
    ("PATCH", "/api/providers/{provider_id}"): Case(Kind.OPERATOR, of_shared_provider("", {"version": 1})),
    ("DELETE", "/api/providers/{provider_id}"): Case(Kind.OPERATOR, of_shared_provider()),
    ("GET", "/api/providers/{provider_id}/models"): Case(Kind.OPERATOR, of_shared_provider("/models")),
    ("POST", "/api/providers/{provider_id}/models"): Case(Kind.OPERATOR, of_shared_provider("/models", MODELS)),
    ("PATCH", "/api/providers/{provider_id}/models/{model_id}"): Case(
        Kind.OPERATOR, of_shared_provider("/models/{model}", {"tier": 0.5})
    ),
    ("DELETE", "/api/providers/{provider_id}/models/{model_id}"): Case(
        Kind.OPERATOR, of_shared_provider("/models/{model}")
    ),
    ("GET", "/api/cache"): Case(Kind.LISTED, fixed("/api/cache"), viewer_may=True),
    ("POST", "/api/cache/flush"): Case(Kind.LISTED, fixed("/api/cache/flush")),
    ("GET", "/api/checks"): Case(Kind.LISTED, fixed("/api/checks"), viewer_may=True),
    ("GET", "/api/agents"): Case(Kind.LISTED, fixed("/api/agents"), viewer_may=True),
    ("GET", "/api/config"): Case(Kind.LISTED, fixed("/api/config"), viewer_may=True),
    ("PATCH", "/api/config"): Case(Kind.LISTED, changed_config),
    ("GET", "/api/config/history"): Case(Kind.LISTED, fixed("/api/config/history?whose=project"), viewer_may=True),
    ("POST", "/api/config/revert"): Case(Kind.LISTED, reverted_config),
    ("GET", "/api/daemons"): Case(Kind.LISTED, fixed("/api/daemons"), viewer_may=True),
    ("GET", "/api/plugins"): Case(Kind.LISTED, fixed("/api/plugins"), viewer_may=True),
    ("GET", "/api/plugins/{name}"): Case(Kind.LISTED, fixed("/api/plugins/ExecutionAgent"), viewer_may=True),
    ("POST", "/api/plugins/reload"): Case(Kind.OPERATOR, fixed("/api/plugins/reload")),
    ("GET", "/api/overview"): Case(Kind.LISTED, fixed("/api/overview"), viewer_may=True),
    ("GET", "/api/router/traffic"): Case(Kind.LISTED, listed_traffic, viewer_may=True),
    ("GET", "/api/audit"): Case(Kind.LISTED, fixed("/api/audit")),
    ("GET", "/api/judge"): Case(Kind.LISTED, fixed("/api/judge"), viewer_may=True),
    ("GET", "/api/members"): Case(Kind.LISTED, listed_members, viewer_may=True),
    ("PATCH", "/api/members/{user_id}"): Case(Kind.NAMED, member),
    ("DELETE", "/api/members/{user_id}"): Case(Kind.NAMED, member),
    ("GET", "/api/invitations"): Case(Kind.LISTED, listed_invitations),
    ("POST", "/api/invitations"): Case(Kind.LISTED, fixed("/api/invitations", {})),
    ("DELETE", "/api/invitations/{invitation_id}"): Case(Kind.NAMED, invitation),
    ("GET", "/api/keys"): Case(Kind.LISTED, listed_keys),
    ("POST", "/api/keys"): Case(Kind.LISTED, fixed("/api/keys", {"name": "k", "scopes": ["tasks:read"]})),
    ("DELETE", "/api/keys/{key_id}"): Case(Kind.NAMED, key),
    ("GET", "/api/projects"): Case(Kind.OWN, listed_projects),
    ("POST", "/api/projects"): Case(Kind.OWN, fixed("/api/projects", {"name": "new"})),
    ("GET", "/api/projects/{project_id}"): Case(Kind.NAMED, of_project()),
    ("PATCH", "/api/projects/{project_id}"): Case(Kind.NAMED, of_project("", {"settings": {"weight": 2}})),
    ("POST", "/api/projects/{project_id}/archive"): Case(Kind.NAMED, of_project("/archive")),
    ("POST", "/api/projects/{project_id}/restore"): Case(Kind.NAMED, of_project("/restore")),
    ("GET", "/api/projects/{project_id}/export"): Case(Kind.NAMED, of_project("/export")),
    ("DELETE", "/api/projects/{project_id}"): Case(Kind.NAMED, of_project("", None, "?confirm={name}")),
    ("POST", "/api/projects/{project_id}/switch"): Case(Kind.NAMED, of_project("/switch")),
    ("GET", "/api/auth/me"): Case(Kind.OWN, fixed("/api/auth/me")),
    ("PATCH", "/api/auth/me"): Case(Kind.OWN, fixed("/api/auth/me", {"name": "n"})),
    ("POST", "/api/auth/password"): Case(
        Kind.OWN, fixed("/api/auth/password", {"current": "none", "new": "long enough!"})
    ),
    ("GET", "/api/auth/sessions"): Case(Kind.OWN, fixed("/api/auth/sessions")),
    ("DELETE", "/api/auth/sessions/{session_id}"): Case(Kind.NAMED, session),
    ("POST", "/api/auth/logout"): Case(Kind.OWN, fixed("/api/auth/logout")),
    ("POST", "/api/auth/logout-everywhere"): Case(Kind.OWN, fixed("/api/auth/logout-everywhere")),
    ("POST", "/api/auth/accept"): Case(Kind.OWN, fixed("/api/auth/accept", {"token": "t"})),
    ("POST", "/api/auth/login"): Case(Kind.OPEN, fixed("/api/auth/login", {"email": "e", "password": "p"})),
    ("POST", "/api/auth/setup"): Case(Kind.OPEN, fixed("/api/auth/setup", {"token": "t", "password": "long enough!"})),
    ("POST", "/api/auth/local"): Case(Kind.OPEN, fixed("/api/auth/local", {"secret": "s"})),
    ("POST", "/api/auth/refresh"): Case(Kind.OPEN, fixed("/api/auth/refresh", {"refresh_token": "t"})),
    ("POST", "/api/auth/invitation"): Case(Kind.OPEN, fixed("/api/auth/invitation", {"token": "t"})),
    ("POST", "/api/auth/register"): Case(
        Kind.OPEN,
        fixed("/api/auth/register", {"token": "t", "email": "e@test", "name": "n", "password": "long enough!"}),
    ),
    ("GET", "/api/health/live"): Case(Kind.OPEN, fixed("/api/health/live")),
    ("GET", "/api/health/ready"): Case(Kind.OPEN, fixed("/api/health/ready")),
    ("GET", "/api/users"): Case(Kind.OPERATOR, fixed("/api/users")),
    ("PATCH", "/api/users/{user_id}"): Case(Kind.OPERATOR, of_user("", {"disabled": True})),
    ("POST", "/api/users/{user_id}/reset-link"): Case(Kind.OPERATOR, of_user("/reset-link", None)),
    ("POST", "/api/users/reset-link"): Case(Kind.OPERATOR, reset_by_email),
    ("POST", "/api/system/signing-keys/rotate"): Case(Kind.OPERATOR, fixed("/api/system/signing-keys/rotate")),
    ("POST", "/api/models/reset"): Case(Kind.OPERATOR, fixed("/api/models/reset", {"name": "echo"})),
}


def with_unknown_ids(request: ApiRequest) -> ApiRequest:
    """Return the same request with ids that do not exist."""
    path = request.path
    for known in request.ids:
        path = path.replace(str(known), str(new_id()))
    return ApiRequest(path, request.body)
