"""A scripted model server with the OpenAI protocol over real HTTP.

    async with ModelServer() as server:
        server.add(ScriptedModel("quick", answer={"capital of France": "Paris", "": "I do not know."}))
        server.fail("quick", Fault(FaultKind.STATUS, status=503, requests=2))
        ... call server.base_url ...
        call = await server.call(0)
        await call.ended.wait(); assert call.aborted

As a separate process, scripted over `/admin`: `python -m tests.kit.model_server --port 0 --print-address`. Routes:
POST and DELETE /admin/models, POST and DELETE /admin/faults, POST /admin/refuse, GET and DELETE /admin/calls.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.kit.model_script import Fault, FaultKind, Prompt, ScriptedModel, resolve
from tests.kit.model_stream import Reply, error_body, send

__all__ = ["Call", "Fault", "FaultKind", "ModelServer", "Prompt", "ScriptedModel"]


@dataclass(slots=True)
class Call:
    """A recorded request and its outcome. Times are of `time.monotonic`."""

    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    aborted: bool = False
    """The client disconnected before the end."""
    status: int | None = None
    tokens_sent: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """The headers of the answer have been sent."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Answered, or aborted."""

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        return self.body["messages"]

    def to_json(self) -> dict[str, Any]:
        plain = ("model", "body", "headers", "started", "finished", "aborted", "status", "tokens_sent")
        return {name: getattr(self, name) for name in plain}


class ModelServer:
    """Scripted models behind one address. Models and faults can be changed at any time."""

    def __init__(self, *models: ScriptedModel, host: str = "127.0.0.1", port: int = 0) -> None:
        self.models: dict[str, ScriptedModel] = {model.name: model for model in models}
        self.calls: list[Call] = []
        self.host, self.port = host, port
        self._faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self._numbers: Counter[str] = Counter()
        self._arrival = asyncio.Condition()
        self._ids = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # handler_cancellation: a client that disconnects ends the handler, as it ends the generation of a real server.
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.accept()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._reopening:
            self._reopening.cancel()
        if self._runner:
            self._drop_connections()
            await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The base URL for clients of the OpenAI protocol."""
        return f"{self.address}/v1"

    def add(self, model: ScriptedModel) -> ScriptedModel:
        """Serve a model. Replaces one of the same name."""
        self.models[model.name] = model
        return model

    def remove(self, name: str) -> None:
        """Remove a model. Later requests for it get 404."""
        self.models.pop(name, None)

    def fail(self, model: str, fault: Fault) -> Fault:
        """Add a fault to a model, or to every model with "*". Several faults take effect one after the other."""
        self._faults[model].append(fault)
        return fault

    def clear_faults(self, model: str | None = None) -> None:
        """Remove the faults of a model, or all faults. Requests that already hang continue to hang."""
        self._faults.clear() if model is None else self._faults.pop(model, None)

    async def refuse(self) -> None:
        """Close the port and every connection, like a crashed server."""
        if self._site:
            await self._site.stop()
            self._site = None
        self._drop_connections()

    async def accept(self) -> None:
        """Open the port again, with the same number."""
        assert self._runner is not None
        if self._site is None:
            self._site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
            await self._site.start()
            self.port = self._runner.addresses[-1][1]

    async def call(self, index: int) -> Call:
        """Wait for the call with that index and return it."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.calls) > index)
        return self.calls[index]

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._runner.server.connections) if self._runner and self._runner.server else 0

    def calls_of(self, model: str) -> list[Call]:
        return [call for call in self.calls if call.model == model]

    def _drop_connections(self) -> None:
        server = self._runner.server if self._runner else None
        for connection in server.connections if server else ():
            if connection.transport:
                connection.transport.abort()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.get("/v1/models", self._list),
                web.get("/health", self._health),
                web.post("/admin/models", self._admin_add),
                web.delete("/admin/models/{name}", self._admin_remove),
                web.post("/admin/faults", self._admin_fail),
                web.delete("/admin/faults", self._admin_clear_faults),
                web.post("/admin/refuse", self._admin_refuse),
                web.get("/admin/calls", self._admin_calls),
                web.delete("/admin/calls", self._admin_clear_calls),
            ]
        )
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            name = body["model"]
            assert isinstance(body["messages"], list)
        except (ValueError, KeyError, TypeError, AssertionError):
            return error_body(400, "the body must be JSON with `model` and `messages`", "invalid_request_error")
        call = Call(name, body, dict(request.headers))
        self.calls.append(call)
        async with self._arrival:
            self._arrival.notify_all()
        try:
            response = await self._answer(request, call)
            call.status = response.status
            return response
        except (asyncio.CancelledError, ConnectionError):
            call.aborted = True
            raise
        finally:
            call.finished = time.monotonic()
            call.ended.set()

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        fault = self._fault(call.model)
        if fault and fault.kind is FaultKind.STATUS:
            return _status(fault)
        model = self.models.get(call.model)
        if model is None:
            return error_body(404, f"model '{call.model}' not found", "not_found_error")
        if model.api_key and request.headers.get("Authorization") != f"Bearer {model.api_key}":
            return error_body(401, "Incorrect API key provided", "invalid_request_error")
        if model.refuses and (refusal := model.refuses(call.body)):
            return web.json_response(refusal[1], status=refusal[0])
        prompt = Prompt(model.name, call.body, self._numbers[model.name])
        self._numbers[model.name] += 1
        reply = Reply(f"chatcmpl-{next(self._ids)}", model, await resolve(model.answer, prompt), call.body)
        return await send(request, reply, fault, call)

    def _fault(self, model: str) -> Fault | None:
        for name in (model, "*"):
            self._faults[name] = [fault for fault in self._faults[name] if not fault.over()]
            if self._faults[name]:
                return self._faults[name][0].consume()
        return None

    async def _list(self, request: web.Request) -> web.Response:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "script"} for name in self.models]
        return web.json_response({"object": "list", "data": models})

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _admin_add(self, request: web.Request) -> web.Response:
        self.add(ScriptedModel.from_json(await request.json()))
        return web.Response(status=204)

    async def _admin_remove(self, request: web.Request) -> web.Response:
        self.remove(request.match_info["name"])
        return web.Response(status=204)

    async def _admin_fail(self, request: web.Request) -> web.Response:
        fields = await request.json()
        self.fail(fields.pop("model"), Fault(**fields))
        return web.Response(status=204)

    async def _admin_clear_faults(self, request: web.Request) -> web.Response:
        self.clear_faults(request.query.get("model"))
        return web.Response(status=204)

    async def _admin_refuse(self, request: web.Request) -> web.Response:
        """Close the port for `for_s` seconds. A time limit is needed: a closed port receives no request to open it."""
        self._reopening = asyncio.create_task(self._refuse_for((await request.json())["for_s"]))
        return web.Response(status=204)

    async def _refuse_for(self, seconds: float) -> None:
        await self.refuse()
        await asyncio.sleep(seconds)
        await self.accept()

    async def _admin_calls(self, request: web.Request) -> web.Response:
        return web.json_response([call.to_json() for call in self.calls])

    async def _admin_clear_calls(self, request: web.Request) -> web.Response:
        self.calls.clear()
        return web.Response(status=204)


def _status(fault: Fault) -> web.Response:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    if fault.body is not None:
        return web.Response(status=fault.status, text=fault.body, headers=headers)
    return error_body(fault.status, f"scripted {fault.status}", "scripted_error", headers)


async def _serve(port: int, models: list[ScriptedModel], announce: bool) -> None:
    async with ModelServer(*models, port=port) as server:
        if announce:
            print(server.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Run the server as a process until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--print-address", action="store_true", help="print the base URL once it serves")
    parser.add_argument("--model", action="append", default=[], help="a ScriptedModel as JSON, or the name of one")
    given = parser.parse_args()
    models = [
        ScriptedModel.from_json(json.loads(text)) if text.startswith("{") else ScriptedModel(text)
        for text in given.model
    ]
    asyncio.run(_serve(given.port, models, given.print_address))


if __name__ == "__main__":
    main()
