"""A daemon with one model and an operator, from which tests add providers in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.e2e.demo import PASSWORD
from tests.kit.any_server import AnyServer, ReceivedRequest
from tests.kit.browser import Visitor
from tests.kit.cloud_server import CloudServer
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.model_server import ModelServer, ScriptedModel

KEY, OTHER_KEY, WRONG_KEY = "sk-browser-5e1f90ab77c3", "sk-browser-other-0d44", "sk-browser-wrong-8b2e"


@dataclass(frozen=True, slots=True)
class Office:
    """A daemon with the model `base`, and an operator who owns a project."""

    daemon: DaemonProcess
    address: str
    operator: str
    """The operator's e-mail address."""
    project_id: str
    ollama: AnyServer
    """A server that `OLLAMA_HOST` names."""
    addresses: Addresses


@asynccontextmanager
async def opened_office(addresses: Addresses, folder: Path) -> AsyncIterator[Office]:
    async with ModelServer() as models, AnyServer(_as_ollama) as ollama:
        models.add(ScriptedModel("base", answer="Hello from base."))
        settings = on_engines(
            addresses,
            models=[{"name": "base", "base_url": models.base_url, "local": True, "context": 8192}],
            providers={"private_hosts": ["127.0.0.1"]},
        )
        daemon = DaemonProcess(folder / "kairos", settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OLLAMA_HOST", f"127.0.0.1:{ollama.port}")
            await daemon.start()
        try:
            address = runtime(daemon.folder / "data")["address"].replace("127.0.0.1", "localhost")
            email, project_id = await _operator_of(daemon, folder.name)
            yield Office(daemon, address, email, project_id, ollama, addresses)
        finally:
            await daemon.stop()


@asynccontextmanager
async def new_cloud(office: Office) -> AsyncIterator[CloudServer]:
    """A provider that is not added yet. At the end the shared providers are removed."""
    async with CloudServer(KEY, "large", "middle", "small") as cloud:
        yield cloud
    for provider in (await office.daemon.ask("GET", "/api/providers"))["items"]:
        await office.daemon.ask("DELETE", f"/api/providers/{provider['id']}")


async def add_provider(office: Office, cloud: CloudServer, *models: str) -> dict[str, Any]:
    """Add a provider with models over the API."""
    body = {"kind": "openai-compatible", "name": "Cloud", "address": cloud.base_url, "key": KEY}
    made = await office.daemon.ask("POST", "/api/providers", body)
    wanted = {"models": [{"upstream": model, "name": model} for model in models]}
    return await office.daemon.ask("POST", f"/api/providers/{made['id']}/models", wanted)


@asynccontextmanager
async def operator_in(browser: Browser, office: Office, *, locale: str = "en-GB") -> AsyncIterator[Visitor]:
    """The operator in a browser, signed in, with the project selected. No page is open."""
    async with Visitor.in_new_context(browser, office.address, locale=locale) as visitor:
        await visitor.context.add_init_script(f"localStorage.setItem('kairos.last-project', '{office.project_id}')")
        await visitor.authenticate(office.operator, PASSWORD)
        yield visitor


async def fill_server(page: Page, name: str, address: str, key: str) -> None:
    """Fill in the second step of the page that adds models, and test the server."""
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_role("textbox", name="Address").fill(address)
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Test and list models").click()


def _as_ollama(request: ReceivedRequest) -> Any:
    """The lists of an Ollama with one model, in its own protocol and in OpenAI's."""
    name = "llama3.2:3b"
    answers = {
        "/v1/models": {"data": [{"id": name, "owned_by": "library"}]},
        "/api/tags": {"models": [{"name": name, "model": name, "size": 2_000_000_000}]},
        "/api/show": {"capabilities": ["completion", "tools"], "details": {}, "model_info": {}},
    }
    return answers.get(request.target, (404, {"error": "not found"}))


async def _operator_of(daemon: DaemonProcess, name: str) -> tuple[str, str]:
    """Give the local operator a password and a project; their e-mail address and the project."""
    user = await daemon.ask("GET", "/api/auth/me")
    link = (await daemon.ask("POST", f"/api/users/{user['user_id']}/reset-link"))["link"]
    daemon.client().open("POST", "/api/auth/setup", {"token": link.split("#")[1], "password": PASSWORD})
    return user["email"], (await daemon.ask("POST", "/api/projects", {"name": f"Wizard {name}"}))["id"]
