"""Stored models on several daemons: live changes, rotation, lost master keys, and calls that are running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from kairos.background_tasks import end
from kairos.config import ProviderSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.encryption.envelope import MasterKey
from kairos.encryption.master_keys import FILE, shown
from kairos.llm.catalog.provider_kinds import ProviderKind
from kairos.llm.health.health import ModelHealthState
from kairos.orchestration.providers.provider_input import ModelDraft, ProviderDraft
from kairos.orchestration.providers.provider_store import ProviderOwner, StoredProvider
from kairos.tenancy import Scope
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.keyed_server import KeyedServer
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel
from tests.kit.providers import KEY, delete_all

OTHER_KEY = "sk-tests-other-93b1ee04d5"
LIVE_S = 2.0


@pytest.fixture
async def cloud() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        server.add(ScriptedModel(name="large", answer="from large"))
        yield server


@pytest.fixture
async def keys_file(tmp_path: Path) -> Path:
    """The file with the master keys of both daemons."""
    file = tmp_path / "keys"
    file.write_text(shown(MasterKey.new()))
    return file


@pytest.fixture
async def two_apps(
    addresses: Addresses, models: ModelServer, keys_file: Path
) -> AsyncIterator[tuple[KairosApp, KairosApp]]:
    """Two applications on the same engines with the same master keys. The second applies changes in the background."""
    settings = ProviderSettings(master_key_file=keys_file)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_app(addresses, models, providers=settings))
        second = await stack.enter_async_context(open_app(addresses, models, providers=settings))
        await stack.enter_async_context(following(second))
        yield first, second
        await delete_all(first.database)


@asynccontextmanager
async def following(app: KairosApp) -> AsyncIterator[None]:
    """Apply changes in the background, without running tasks."""
    tasks = [asyncio.create_task(work()) for work in app.parts.llm.background]
    try:
        yield
    finally:
        await end(*tasks)


async def store(
    app: KairosApp, cloud: ModelServer | KeyedServer, name: str = "large", key: str | None = KEY
) -> StoredProvider:
    """Store a provider with one model."""
    providers, owner = app.parts.orchestration.providers, ProviderOwner(app.user_id)
    made = await providers.create(
        owner, ProviderDraft(ProviderKind.OPENAI_COMPATIBLE, f"Provider {name}", cloud.base_url, key)
    )
    return await providers.add_models(owner, made.row.id, [ModelDraft("large", name)])


async def change_key(app: KairosApp, made: StoredProvider, key: str) -> StoredProvider:
    providers, owner = app.parts.orchestration.providers, ProviderOwner(app.user_id)
    now = await providers.get(owner, made.row.id)
    return await providers.change(owner, made.row.id, now.row.version, {"key": key})


async def remove(app: KairosApp, made: StoredProvider) -> None:
    await app.parts.orchestration.providers.remove(ProviderOwner(app.user_id), made.row.id)


def model(app: KairosApp, name: str = "large") -> Any:
    return app.parts.llm.router.catalog.get(name)


def used_keys(server: ModelServer) -> list[str]:
    return [call.headers.get("Authorization", "").removeprefix("Bearer ") for call in server.calls]


async def sql(app: KairosApp, statement: str, **values: Any) -> None:
    async with app.database.scope(Scope(user_id=app.user_id, operator=True)) as session:
        await session.execute(text(statement), values)


class TestLive:
    async def test_change_on_one_daemon_is_in_force_on_the_other(self, two_apps: Any, cloud: ModelServer):
        first, second = two_apps
        made = await store(first, cloud)
        await eventually(lambda: model(second) is not None, LIVE_S, "the second daemon has the model")
        await change_key(first, made, OTHER_KEY)
        await eventually(lambda: model(second).api_key == OTHER_KEY, LIVE_S, "the second daemon has the new key")
        await remove(first, made)
        await eventually(lambda: model(second) is None, LIVE_S, "the model is gone on the second daemon")

    async def test_change_without_a_notice_is_found_by_polling(self, two_apps: Any, cloud: ModelServer):
        """As when Redis loses the notice."""
        first, second = two_apps
        made = await store(first, cloud)
        await eventually(lambda: model(second) is not None, LIVE_S, "the second daemon has the model")
        statement = "update providers set address = address || 'x', version = 2, revision = revision + 1 where id = :id"
        await sql(first, statement, id=made.row.id)
        await eventually(
            lambda: model(second).base_url == f"{cloud.base_url}x", LIVE_S, "the second daemon has the new address"
        )

    async def test_start_reads_the_stored_models(
        self, addresses: Addresses, models: ModelServer, cloud: ModelServer, two_apps: Any, keys_file: Path
    ):
        first, _ = two_apps
        await store(first, cloud)
        settings = ProviderSettings(master_key_file=keys_file)
        async with open_app(addresses, models, providers=settings, default_llm_model="large") as third:
            assert model(third).api_key == KEY
            async with third.working():
                task = await third.finished(await third.submit())
            assert task.output == "from large"


class TestRunningCalls:
    async def test_running_call_continues_when_its_provider_is_removed(self, two_apps: Any, cloud: ModelServer):
        first, _ = two_apps
        cloud.add(ScriptedModel(name="large", answer="from large", first_token_s=0.7))
        made = await store(first, cloud)
        async with first.working():
            task_id = await first.submit(model="large")
            await cloud.call(0)
            await remove(first, made)
            task = await first.finished(task_id)
        assert (task.state, task.output) == (TaskState.SUCCEEDED, "from large")

    async def test_call_refused_because_of_the_old_key_is_repeated_with_the_new_one(self, two_apps: Any):
        """The provider revokes the old key at once: a task that was just using it does not fail."""
        first, _ = two_apps
        async with KeyedServer({OTHER_KEY}, delay_s=0.7) as server:
            made = await store(first, server)
            async with first.working():
                task_id = await first.submit(model="large")
                await eventually(lambda: server.chat_keys(), 10, "the call has begun")
                await change_key(first, made, OTHER_KEY)
                task = await first.finished(task_id)
        assert (task.state, server.chat_keys()) == (TaskState.SUCCEEDED, [KEY, OTHER_KEY])

    async def test_new_key_closes_the_circuit_breaker(self, two_apps: Any, cloud: ModelServer):
        first, second = two_apps
        cloud.fail("large", Fault(FaultKind.STATUS, status=401, requests=1))
        made = await store(first, cloud)
        async with first.working():
            await first.finished(await first.submit(model="large", max_attempts=1))
            health = first.parts.llm.router.health
            assert health.status("large", time.time()).state is ModelHealthState.UNHEALTHY
            await eventually(lambda: second.parts.llm.router.health("large", time.time()).open, 5, "it is shared")
            await change_key(first, made, OTHER_KEY)
            assert not health("large", time.time()).open
            await eventually(
                lambda: not second.parts.llm.router.health("large", time.time()).open, LIVE_S, "closed there too"
            )
            task = await first.finished(await first.submit(model="large"))
        assert task.state == TaskState.SUCCEEDED


class TestMasterKeys:
    async def test_lost_master_key_affects_its_providers_alone(
        self, addresses: Addresses, models: ModelServer, cloud: ModelServer, two_apps: Any
    ):
        first, _ = two_apps
        await store(first, cloud)
        await store(first, cloud, "open", key=None)
        async with open_app(addresses, models) as stranger:  # with a master key of its own
            assert "does not have the master key" in model(stranger).problem
            assert model(stranger).api_key is None
            readiness = stranger.parts.llm.stored.readiness()
            assert "Provider large" in readiness.detail
            async with stranger.working():
                unusable = await stranger.finished(await stranger.submit(model="large", max_attempts=1))
                usable = await stranger.finished(await stranger.submit(model="open"))
            assert unusable.state in (TaskState.FAILED, TaskState.DEAD)
            assert "does not have the master key" in str(unusable.error)
            assert usable.state == TaskState.SUCCEEDED
            assert used_keys(cloud) == [""], "nothing is sent without the key"
            made = next(m for m in await stranger.parts.orchestration.providers.list(ProviderOwner(first.user_id)))
            await change_key(stranger, made, OTHER_KEY)
            assert model(stranger).problem is None, "a key that was entered again is usable"

    async def test_rotation_in_a_shared_file_needs_no_restart(self, two_apps: Any, cloud: ModelServer, keys_file: Path):
        first, second = two_apps
        made = await store(first, cloud)
        before, new = made.row.master_key, MasterKey.new()
        keys_file.write_text(f"{shown(new)}\n{keys_file.read_text()}")
        reads = asyncio.create_task(read_until_cancelled(first, made.row.id))
        result = await first.parts.orchestration.master_keys.rotate(first.user_id)
        assert (result.rewrapped, result.unreadable, result.added) == (1, 0, False)
        reads.cancel()
        [ended] = await asyncio.gather(reads, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), "each read found the key"
        row = (await first.parts.orchestration.providers.get(ProviderOwner(first.user_id), made.row.id)).row
        assert before != row.master_key == result.master_key == new.id
        assert row.version == made.row.version, "nobody's edit is in conflict with a rotation"
        keys_file.write_text(shown(new))
        await eventually(lambda: second.parts.llm.stored.keys.ring.newest.id == new.id, LIVE_S, "it was read again")
        assert (model(first).api_key, model(second).api_key, model(second).problem) == (KEY, KEY, None)

    async def test_daemon_without_the_new_key_goes_on_until_its_restart(
        self, addresses: Addresses, models: ModelServer, cloud: ModelServer, tmp_path: Path, two_apps: Any
    ):
        """As during a rolling restart with new keys in the environment."""
        first, _ = two_apps
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        old, new = MasterKey.new(), MasterKey.new()
        ours.write_text(f"{shown(new)} {shown(old)}")
        theirs.write_text(shown(old))
        async with open_app(addresses, models, providers=ProviderSettings(master_key_file=theirs)) as lagging:
            made = await store(lagging, cloud, "lagging")
            async with open_app(addresses, models, providers=ProviderSettings(master_key_file=ours)) as restarted:
                assert (await restarted.parts.orchestration.master_keys.rotate(first.user_id)).rewrapped == 1
            await lagging.parts.llm.stored.refresh()
            assert (model(lagging, "lagging").api_key, model(lagging, "lagging").problem) == (KEY, None)
            await sql(lagging, "update providers set revision = revision + 1, version = version + 1 where true")
            await lagging.parts.llm.stored.refresh()
            assert model(lagging, "lagging").problem, "a changed secret cannot be read"
            assert made.row.name == "Provider lagging"

    async def test_key_in_the_data_folder_is_rotated_by_kairos(
        self, addresses: Addresses, models: ModelServer, cloud: ModelServer, tmp_path: Path
    ):
        async with open_app(addresses, models, data_dir=tmp_path) as app:
            await sql(app, "delete from replicas")
            await store(app, cloud)
            result = await app.parts.orchestration.master_keys.rotate(app.user_id)
            assert (result.added, result.rewrapped) == (True, 1)
            assert model(app).api_key == KEY
        assert len([line for line in (tmp_path / FILE).read_text().splitlines() if not line.startswith("#")]) == 2
        async with open_app(addresses, models, data_dir=tmp_path) as again:
            assert model(again).api_key == KEY
            await delete_all(again.database)


async def read_until_cancelled(app: KairosApp, provider_id: UUID) -> None:
    """Decrypt the stored secret again and again, as daemons do during a rotation."""
    providers, owner = app.parts.orchestration.providers, ProviderOwner(app.user_id)
    while True:
        row = (await providers.get(owner, provider_id)).row
        assert providers.secret_of(owner, row).key == KEY
        await asyncio.sleep(0)
