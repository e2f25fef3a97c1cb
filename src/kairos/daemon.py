"""Run a daemon: lock its folder, bind its port, start the engines and every component, and stop them in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn

from kairos import environment
from kairos.agents.checks.isolation import IsolationStatus
from kairos.api.access.public_address import link_base
from kairos.api.app import create_app
from kairos.api.components import ApiComponents
from kairos.api.connections import Connections, GuardedHttp, GuardedWebSocket, raise_file_limit
from kairos.api.readiness import Readiness
from kairos.assembly import Components, assemble
from kairos.background_tasks import end, keep_running
from kairos.components import ComponentState
from kairos.config import InvalidConfig, Settings
from kairos.db.models import DaemonRole
from kairos.embedded import Addresses, DataFolder, EmbeddedEngines
from kairos.embedded.folder_rights import private_folder
from kairos.embedded.temporary_folder import ensure_temporary_folder
from kairos.errors import KairosError
from kairos.plugins.plugin_loader import Scan
from kairos.proxies import Proxies

log = logging.getLogger(__name__)

LOCAL_SECRET = "local-secret"
ENGINE_WAIT_S = 5
SERVER_WAIT_S = 30
STOP_LIMIT_S = 10
ABANDON_LIMIT_S = 8
"""Longest wait for an interrupted start to clean up."""
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
WEBSOCKET_BYTES = 65_536
"""Largest message that is read from a client; clients have nothing to send."""


class PortInUse(KairosError):
    """{host}:{port} is in use by another program. Stop it, or set `server.port` (0 chooses a free one)."""

    status, code, exit_code = 500, "port_in_use", 3


@dataclass(frozen=True, slots=True)
class Started:
    """A ready daemon: its addresses, degraded components and start time in seconds."""

    address: str
    """The API's address for programs on this machine; empty if this daemon serves no API."""
    page: str
    """The address of the dashboard, on the same host as the links; empty if this daemon serves no API."""
    setup_link: str | None
    """Link to set the first operator's password; None once an operator has one, or without an API."""
    missing: Mapping[str, str]
    """Degraded and unavailable components, each with the reason."""
    seconds: float
    isolation: IsolationStatus


async def serve(settings: Settings, role: DaemonRole, announce: Callable[[Started], None], began: float) -> None:
    """Run a daemon until SIGTERM or SIGINT. `announce` is called once it is ready.

    Raises `InvalidConfig`, `EngineUnavailable`, `PortInUse`, `DataFolderInUse` and other errors of the start.
    """
    raise_file_limit()
    stopping = Stopping()
    proxies = Proxies.of({name: environment.value(name) or "" for name in environment.names()})
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.ask)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(settings.data_dir))
        ensure_temporary_folder(folder.path)
        private_folder(folder.path / "models")  # adapters, unless `fine_tuning.folder` is set
        listener = stack.enter_context(_listener(settings)) if role in (DaemonRole.ALL, DaemonRole.API) else None
        parts = await stopping.unless_asked(_started(stack, settings, folder, role, proxies))
        if parts is None:
            log.info("stopped before it was ready")
            return
        await _run(parts, folder, role, listener, stopping, announce, began)


async def _started(
    stack: AsyncExitStack, settings: Settings, folder: DataFolder, role: DaemonRole, proxies: Proxies
) -> Components:
    """Start the engines and build every component on them; the stack closes them."""
    scan = Scan(settings.plugins)
    stack.push_async_callback(scan.end)
    addresses, engines = await stack.enter_async_context(_engines(settings, folder))
    return await stack.enter_async_context(assemble(settings, addresses, engines, role, scan, proxies))


class Stopping:
    """Requests to stop: the first signal stops the daemon after its running tasks, the second stops it at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def ask(self) -> None:
        (self.hurry if self.asked.is_set() else self.asked).set()

    async def unless_asked(self, work: Coroutine[Any, Any, Components]) -> Components | None:
        """The result of the work; None if a signal arrived first and the work was cancelled.

        It is cancelled once and may clean up for `ABANDON_LIMIT_S`, or until a second signal; then it is cancelled
        repeatedly until it ends.
        """
        task, asked = asyncio.create_task(work), asyncio.create_task(self.asked.wait())
        try:
            await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
            if not self.asked.is_set():
                return task.result()
            task.cancel()
            hurry = asyncio.create_task(self.hurry.wait())
            await asyncio.wait([task, hurry], timeout=ABANDON_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            await end(hurry)
        finally:
            await end(task, asked)
        if not task.cancelled() and (error := task.exception()):
            log.warning("the start failed while it was being stopped: %s", error)
        return None


@contextmanager
def _listener(settings: Settings) -> Iterator[socket.socket]:
    """The API's listening socket, bound before anything starts so that a port in use is reported at once."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise PortInUse(host=host, port=port) from error
        yield listener


@asynccontextmanager
async def _engines(settings: Settings, folder: DataFolder) -> AsyncIterator[tuple[Addresses, EmbeddedEngines | None]]:
    """Start the engines that have no configured address; yield the addresses of all engines."""
    given = _given_addresses(settings)
    wants_postgres, wants_valkey = given.database_url == "", given.redis_url == ""
    wants_model = settings.embedded.model and (wants_postgres or not settings.models)
    if not (wants_postgres or wants_valkey or wants_model):
        yield given, None
        return
    engines = EmbeddedEngines(folder, postgres=wants_postgres, valkey=wants_valkey, model=wants_model)
    try:
        started = await engines.start()
        yield _merged(given, started), engines
    finally:
        await engines.stop()


def _given_addresses(settings: Settings) -> Addresses:
    database = settings.database
    urls = (database.url, database.migration_url, database.system_url)
    if any(urls) and not all(urls):
        raise InvalidConfig(
            source="[database]",
            problem="one of url, migration_url and system_url is missing",
            remedy="Set all three: each role has its own address (README, 'Your own PostgreSQL and Redis')",
        )
    app, owner, system = (url.get_secret_value() if url else "" for url in urls)
    redis = settings.redis.url.get_secret_value() if settings.redis.url else ""
    return Addresses(app, owner, system, redis, None, None)


def _merged(given: Addresses, started: Addresses) -> Addresses:
    return Addresses(
        given.database_url or started.database_url,
        given.migration_url or started.migration_url,
        given.system_url or started.system_url,
        given.redis_url or started.redis_url,
        started.model_url,
        started.model_api_key,
        started.model_weights,
    )


async def _run(
    parts: Components,
    folder: DataFolder,
    role: DaemonRole,
    listener: socket.socket | None,
    stopping: Stopping,
    announce: Callable[[Started], None],
    began: float,
) -> None:
    """Run the components of the role until a signal arrives or one fails for good, then stop the worker and the API."""
    secret = folder.path / LOCAL_SECRET
    folder.write_secret(LOCAL_SECRET, parts.api.local_secret)
    server = http_server(parts.settings, parts.endpoint_components) if listener else None
    background = [keep_running(run.__qualname__, run) for run in (parts.orchestration.sweeper.run, *parts.background)]
    if parts.engines:
        background.append(parts.engines.watch())
    tasks = [asyncio.create_task(work) for work in background]
    isolation = asyncio.create_task(parts.agents.isolation.status())
    worker = (
        asyncio.create_task(parts.orchestration.worker.run(stopping.asked, stopping.hurry))
        if role is not DaemonRole.API
        else None
    )
    serving = asyncio.create_task(server.serve(sockets=[listener])) if server and listener else None
    everything = [task for task in (*tasks, worker, serving) if task]
    try:
        if server:
            await _until_serving(server, serving)
        address = _address(listener)
        # Exclude objects that live as long as the daemon from garbage collection: a full collection blocked the event
        # loop for 0.2 s.
        gc.collect()
        gc.freeze()
        link = await _setup_link(parts, listener) if listener else None
        seconds = time.monotonic() - began
        page = link_base(parts.settings, listener.getsockname()[1]) if listener else ""
        started = Started(address, page, link, await _missing(parts.api.readiness), seconds, await _reported(isolation))
        folder.write_runtime(
            {"pid": os.getpid(), "address": address, "role": role, "ready_s": round(started.seconds, 2)}
        )
        announce(started)
        stop = asyncio.create_task(stopping.asked.wait())
        await asyncio.wait([stop, *everything], return_when=asyncio.FIRST_COMPLETED)
        stopping.asked.set()
        await stop
        if worker:
            await worker
    finally:
        secret.unlink(missing_ok=True)
        if server and serving:
            server.should_exit = True
            await asyncio.wait([serving], timeout=STOP_LIMIT_S)
        await end(*everything, isolation)
        results = await asyncio.gather(*everything, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _reported(probing: asyncio.Task[IsolationStatus]) -> IsolationStatus:
    """The isolation of supplied tests on this host; a missing one is logged."""
    isolation = await probing
    if not isolation.full:
        effect = "run without full isolation" if isolation.allowed else "are not run: this host cannot isolate code"
        log.warning("tests supplied with tasks %s (%s)", effect, isolation.detail)
    return isolation


def http_server(settings: Settings, components: ApiComponents) -> uvicorn.Server:
    """The HTTP server of a daemon. The daemon handles the signals."""
    server_settings = settings.server
    guard = Connections(server_settings)
    config = uvicorn.Config(
        create_app(components),
        http=partial(GuardedHttp, guard),  # type: ignore[arg-type]  # called like the class
        forwarded_allow_ips=server_settings.trusted_proxies,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_LIMIT_S,
        timeout_keep_alive=math.ceil(server_settings.idle_timeout_s),
        lifespan="off",
        ws=partial(GuardedWebSocket, guard),  # type: ignore[arg-type]
        ws_max_size=WEBSOCKET_BYTES,
        ws_per_message_deflate=False,  # compression costs CPU and memory per socket, and the messages are short
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]  # the daemon has its own handlers
    return server


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


async def _until_serving(server: uvicorn.Server, serving: asyncio.Task[None] | None) -> None:
    async with asyncio.timeout(SERVER_WAIT_S):
        while not server.started:
            if serving and serving.done():
                serving.result()
                raise RuntimeError("the HTTP server ended before it had started")
            await asyncio.sleep(0.01)


def _address(listener: socket.socket | None) -> str:
    """The API's address for programs on this machine: a wildcard address is replaced by loopback."""
    if listener is None:
        return ""
    bound, port = listener.getsockname()[:2]
    host = LOOPBACK[bound] if bound in LOOPBACK else str(bound)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _setup_link(parts: Components, listener: socket.socket) -> str | None:
    """A new setup link, or None once an operator has a password. A new one at each start, in case the log was lost."""
    token = await parts.api.first_account.new_link()
    return f"{link_base(parts.settings, listener.getsockname()[1])}/setup#{token}" if token else None


async def _missing(readiness: Readiness) -> dict[str, str]:
    found = await readiness.components()
    return {name: part.detail for name, part in found.items() if part.state is not ComponentState.OK}
