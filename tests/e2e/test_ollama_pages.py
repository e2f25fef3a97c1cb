"""Ollama's models in the dashboard and on the command line, and a daemon that is killed during a pull."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.e2e.demo import PASSWORD, Person, sign_up
from tests.kit.browser import Visitor
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, command, on_engines
from tests.kit.ollama_pulls import COMPLETE, HOLD, MANIFEST, SUCCESS, VERIFYING, error, layer
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import base_file

GIB = 2**30
HELD = (MANIFEST, layer(0, 4 * GIB), layer(GIB, 4 * GIB), HOLD, layer(4 * GIB, 4 * GIB), VERIFYING, SUCCESS)
FULL = (MANIFEST, layer(GIB, 4 * GIB), error("write /root/.ollama/models/blobs: no space left on device"))


@dataclass(frozen=True, slots=True)
class Office:
    """A daemon whose projects may use the Ollama server of this machine, and the owner of a project."""

    daemon: DaemonProcess
    address: str
    ada: Person
    ollama: OllamaServer
    page: str
    """The page of the project's provider."""
    api: str


@pytest.fixture(scope="module")
async def office(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    folder: Path = tmp_path_factory.mktemp("office")
    settings = on_engines(addresses, providers={"private_hosts": ["127.0.0.1"]})
    daemon = DaemonProcess(folder / "kairos", settings)
    async with OllamaServer() as ollama:
        await daemon.start()
        try:
            ada = await sign_up(daemon, "Ada", "Search", "aurora")
            body = {"name": "GPU box", "kind": "ollama", "address": ollama.base_url}
            made = daemon.client().open("POST", "/api/project/providers", body, ada.headers)
            address = runtime(daemon.folder / "data")["address"].replace("127.0.0.1", "localhost")
            page = f"/models/providers/{made['id']}/ollama?own=true"
            yield Office(daemon, address, ada, ollama, page, f"/api/project/providers/{made['id']}/ollama")
        finally:
            ollama.release()
            if daemon.process.poll() is None:
                await daemon.stop()


@pytest.fixture
def ollama(office: Office) -> OllamaServer:
    """The server with two models, one of them loaded."""
    server = office.ollama
    server.release()
    server.store.models.clear()
    for name in ("llama3.2:3b", "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M"):
        server.store.add_base(name, base_file(text=name))
    return server


def row(page: Page, name: str):
    return page.get_by_role("listitem").filter(has_text=name)


@pytest.mark.timeout(240)
async def test_model_is_pulled_added_and_deleted_in_the_browser(browser: Browser, office: Office, ollama: OllamaServer):
    async with Visitor.in_new_context(browser, office.address) as ada:
        await ada.authenticate(office.ada.email, PASSWORD)
        await ada.open(office.page)
        page = ada.page
        await expect(page.get_by_role("article")).to_have_count(2)

        ollama.hold()
        ollama.scripts |= {"tiny": HELD, "huge": FULL}
        await page.get_by_label("Model", exact=True).fill("huge")
        await page.keyboard.press("Enter")
        await expect(row(page, "huge could not be pulled.")).to_contain_text("the disk of the Ollama server is full")
        await page.get_by_label("Model", exact=True).fill("tiny")
        await page.get_by_role("button", name="Pull", exact=True).click()
        progress = page.get_by_role("progressbar", name="Progress of tiny")
        await expect(progress).to_have_attribute("value", "0.25")
        await expect(row(page, "tiny")).to_contain_text("25% · 1 GiB / 4 GiB")
        await expect(page.get_by_role("main").get_by_role("status")).not_to_contain_text("tiny")

        async with ollama.store.loaded("llama3.2:3b", {"num_ctx": 4096}):
            await ada.open(office.page)
            async for appearance in ada.appearances():
                await expect(page.get_by_role("progressbar")).to_be_visible()
                assert await ada.faults() == [], appearance
                await ada.screenshot(f"ollama-{appearance}")
                excess = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert excess <= 0, f"{appearance} is {excess} px wider than the window"
            await expect(page.get_by_role("article", name="llama3.2:3b")).to_contain_text("Loaded")

        ollama.release()
        await expect(page.get_by_role("main").get_by_role("status")).to_contain_text("tiny is installed.")
        tiny = page.get_by_role("article", name="tiny:latest")
        await tiny.get_by_role("button", name="Add to catalogue: tiny:latest").click()
        await expect(tiny).to_contain_text("In the catalogue as ollama/tiny")
        await tiny.get_by_role("button", name="Delete: tiny:latest").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Delete", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_contain_text("the catalogue of Kairos has it as ollama/tiny")
        await ada.screenshot("ollama-delete-refused")
        await dialog.get_by_role("button", name="Cancel").click()

        other = page.get_by_role("article", name="llama3.2:3b")
        await other.get_by_role("button", name="Delete: llama3.2:3b").click()
        assert await ada.faults() == []
        await dialog.get_by_role("button", name="Delete", exact=True).click()
        await expect(other).to_have_count(0)

        ollama.store.delete("tiny")
        await ada.open(office.page)
        await expect(row(page, "is in the catalogue but not installed")).to_contain_text("tiny:latest is not on the")
        assert ada.errors == []
        assert ada.foreign == []


@pytest.mark.timeout(120)
async def test_pull_is_cancelled_and_the_page_is_shown_in_turkish(
    browser: Browser, office: Office, ollama: OllamaServer
):
    async with Visitor.in_new_context(browser, office.address, locale="tr-TR") as ada:
        await ada.authenticate(office.ada.email, PASSWORD)
        await ada.open(office.page)
        ollama.hold()
        ollama.scripts["held"] = HELD
        await ada.page.get_by_label("Model", exact=True).fill("held")
        await ada.page.keyboard.press("Enter")
        await expect(ada.page.get_by_role("progressbar")).to_have_attribute("value", "0.25")
        async for appearance in ada.appearances():
            assert await ada.faults() == [], appearance
            await ada.screenshot(f"ollama-tr-{appearance}")
            excess = await ada.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert excess <= 0, f"{appearance} is {excess} px wider than the window"
        await ada.page.get_by_role("button", name="İptal et: held").click()
        await expect(ada.page.get_by_role("progressbar")).to_have_count(0)
        await expect(ada.page.get_by_role("main").get_by_role("status")).to_contain_text("held indirmesi iptal edildi.")
        await eventually(lambda: ollama.pulling == 0, 5, "the connection is closed")
        await ollama.close_port()
        await ada.open(office.page)
        await expect(ada.page.get_by_role("alert")).to_contain_text("Ollama sunucusu kullanılamıyor")
        await ada.screenshot("ollama-tr-away")
        await ollama.open_port()
        assert ada.errors == []


async def test_command_line_pulls_lists_and_uninstalls(office: Office, ollama: OllamaServer):
    daemon = office.daemon
    ollama.scripts |= {"small": COMPLETE, "huge": FULL}
    server = ("--kind", "ollama", "--address", ollama.base_url, "--no-key")

    async def kairos(*arguments: str):
        return await asyncio.to_thread(command, daemon.folder, "provider", *arguments, KAIROS_CONFIG=str(daemon.config))

    assert (await kairos("add", "Box", *server)).returncode == 0
    done = await kairos("pull", "Box", "small")
    assert (done.returncode, done.stdout.strip()) == (0, "pulled small (100 B)"), done.stderr
    failed = await kairos("pull", "Box", "huge")
    assert failed.returncode == 1
    assert "the disk of the Ollama server is full. Delete models" in " ".join(failed.stderr.split())
    listed = json.loads((await kairos("installed", "Box", "--json")).stdout)
    assert "small:latest" in [model["name"] for model in listed["installed"]]
    assert [pull["state"] for pull in listed["pulls"]] == ["failed", "succeeded"]
    shown = (await kairos("installed", "Box")).stdout
    assert "llama3.2:3b" in shown
    removed = await kairos("uninstall", "Box", "small")
    assert (removed.returncode, removed.stdout.strip()) == (0, "uninstalled small"), removed.stderr
    assert (await kairos("uninstall", "Box", "small")).returncode == 4
    assert (await kairos("remove", "Box")).returncode == 0


@pytest.mark.timeout(120)
async def test_pull_of_a_killed_daemon_is_interrupted_and_continues(
    office: Office, addresses: Addresses, ollama: OllamaServer, tmp_path: Path
):
    """The first daemon shows it. This test starts the one that it kills."""
    settings = on_engines(addresses, providers={"private_hosts": ["127.0.0.1"]})
    doomed = await DaemonProcess(tmp_path / "doomed", settings).start()
    ollama.hold()
    ollama.scripts["killed"] = HELD
    headers, pulls = office.ada.headers, f"{office.api}/pulls"
    started = await asyncio.to_thread(doomed.client().open, "POST", pulls, {"model": "killed"}, headers)

    async def state() -> str:
        items = (await asyncio.to_thread(office.daemon.client().open, "GET", pulls, None, headers))["items"]
        return next(item["state"] for item in items if item["id"] == started["id"])

    await eventually(lambda: ollama.pulling == 1, 10, "the pull runs")
    assert await state() == "running"
    doomed.kill()

    async def interrupted() -> bool:
        return await state() == "interrupted"

    await eventually(interrupted, 30, "the pull is interrupted", every_s=0.5)
    ollama.release()
    again = await asyncio.to_thread(office.daemon.client().open, "POST", pulls, {"model": "killed"}, headers)
    assert again["state"] == "running"
    await eventually(lambda: "killed:latest" in ollama.store.models, 10, "the repeated pull succeeds")
