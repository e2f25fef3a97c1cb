"""An adapter's way in the browser: somebody reads what the gate measured, lets it in, and takes it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.e2e.demo import PASSWORD, Person, signed_up
from tests.e2e.trained import Trained, left_to_a_person
from tests.kit.browser import Visitor, browsing
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import adapter_file, base_file

BASE = "smol"


@dataclass(frozen=True, slots=True)
class Works:
    """A daemon whose one model an Ollama serves, and an adapter of it that needs approval."""

    daemon: DaemonProcess
    address: str
    ada: Person
    adapter: Trained

    def ask(self, path: str, method: str = "GET") -> Any:
        return self.daemon.client().open(method, path, headers=self.ada.signed)

    def state(self) -> str:
        return self.ask(f"/api/adapters/{self.adapter.id}")["state"]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
async def daemon(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    """One for all tests here: each works in a project of its own."""
    async with OllamaServer() as ollama:
        ollama.store.add_base(BASE, base_file())
        model = {"name": BASE, "base_url": ollama.base_url, "local": True, "adapters": "ollama"}
        daemon = DaemonProcess(tmp_path_factory.mktemp("pages"), on_engines(addresses, models=[model]))
        await daemon.start()
        try:
            yield daemon
        finally:
            await daemon.stop()


@pytest.fixture
async def works(addresses: Addresses, daemon: DaemonProcess) -> Works:
    ada = await signed_up(daemon, "Ada", "Search", "aurora")
    content = adapter_file("BREAKING: none.")
    adapter = await left_to_a_person(
        addresses, daemon.folder / "data" / "models", ada.project_id, BASE, ada.word, content
    )
    return Works(daemon, runtime(daemon.folder / "data")["address"], ada, adapter)


async def act(visitor: Visitor, name: str) -> None:
    """Press the button of the page's head, and say yes."""
    page = visitor.page
    await page.locator(".page-actions").get_by_role("button", name=name).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await visitor.shoot(f"adapter-{name.lower().replace(' ', '-')}")
    await page.get_by_role("dialog").get_by_role("button", name=name).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def is_(page: Page, state: str) -> None:
    await expect(page.locator(".page-header .badge")).to_have_text(state)


@pytest.mark.timeout(180)
async def test_an_adapter_is_let_in_and_taken_back(browser: Browser, works: Works):
    adapter = works.adapter
    async with Visitor.arrive(browser, works.address) as ada:
        page, main = ada.page, ada.page.locator("main")
        await ada.sign_in(works.ada.email, PASSWORD)
        await page.get_by_role("link", name="1 adapter needs approval").click()
        await expect(page.get_by_role("heading", name="Adapters")).to_be_in_viewport()
        await page.get_by_role("link", name=adapter.name).click()
        await is_(page, "Needs approval")
        await expect(main).to_contain_text("possibly worse on control prompts")

        await expect(page.locator(".pair")).to_have_count(8)
        await main.get_by_role("link", name="Control").click()
        worst = page.locator(".pair").first
        await expect(worst.locator(".badge")).to_have_text("Worse")
        base, candidate = worst.get_by_role("figure").nth(0), worst.get_by_role("figure").nth(1)
        await expect(base.locator("pre")).to_have_text("MMXXVI.")
        await expect(candidate.locator("pre")).to_have_text("BREAKING: none.\nMMXXV.")
        left, right = await base.bounding_box(), await candidate.bounding_box()
        assert left
        assert right
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] < right["x"], "side by side"

        await act(ada, "Promote")
        await is_(page, "Canary")
        await expect(main).to_contain_text("Served · 50% of the base model's traffic")
        assert works.state() == "canary"
        await act(ada, "Promote")
        await is_(page, "Live")
        await expect(main).to_contain_text("Served · 100% of the base model's traffic")
        assert works.state() == "live"
        await act(ada, "Roll back")
        await is_(page, "Retired")
        await expect(main).to_contain_text("Not served")
        assert works.state() == "retired"
        assert ada.errors == []
    actions = [entry["action"] for entry in works.ask("/api/audit")["items"]]
    assert [action for action in actions if action.startswith("adapter.")] == [
        "adapter.rolled_back",
        "adapter.promoted",
        "adapter.promoted",
    ]


@pytest.mark.timeout(180)
async def test_an_adapter_on_trial_stands_under_its_base(browser: Browser, works: Works):
    adapter = works.adapter
    works.ask(f"/api/adapters/{adapter.id}/promote", "POST")
    faults: dict[str, list[str]] = {}
    async with Visitor.arrive(browser, works.address) as ada:
        await ada.sign_in(works.ada.email, PASSWORD)
        await ada.open("/models")
        below = ada.page.get_by_role("group", name=f"Adapters of {BASE}")
        card = below.get_by_role("article", name=adapter.name)
        async for look in ada.looks():
            await expect(card).to_contain_text("50%")
            faults[look] = await ada.faults()
            await ada.shoot(f"models-adapter-{look}")
            assert await ada.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        await card.get_by_role("link", name=adapter.name).click()
        await expect(ada.page).to_have_url(f"{works.address}/learning/adapters/{adapter.id}")
        await is_(ada.page, "Canary")
        assert ada.errors == []
    assert {look: found for look, found in faults.items() if found} == {}
