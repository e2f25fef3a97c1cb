"""The pages of an adapter in a browser: the gate's report, promotion and rollback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.e2e.demo import PASSWORD, Person, sign_up
from tests.e2e.trained import TrainedAdapter, add_adapter_needing_approval
from tests.kit.browser import Visitor
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import adapter_file, base_file

BASE = "smol"


@dataclass(frozen=True, slots=True)
class AdapterDemo:
    """A daemon with one model, served by Ollama, and an adapter of it that needs approval."""

    daemon: DaemonProcess
    address: str
    ada: Person
    adapter: TrainedAdapter

    def request(self, path: str, method: str = "GET") -> Any:
        return self.daemon.client().open(method, path, headers=self.ada.headers)

    def state(self) -> str:
        return self.request(f"/api/adapters/{self.adapter.id}")["state"]


@pytest.fixture(scope="module")
async def daemon(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    """One daemon for all tests of this file; each test has its own project."""
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
async def demo(addresses: Addresses, daemon: DaemonProcess) -> AdapterDemo:
    ada = await sign_up(daemon, "Ada", "Search", "aurora")
    content = adapter_file("BREAKING: none.")
    adapter = await add_adapter_needing_approval(
        addresses, daemon.folder / "data" / "models", ada.project_id, BASE, ada.marker, content
    )
    return AdapterDemo(daemon, runtime(daemon.folder / "data")["address"], ada, adapter)


async def press_and_confirm(visitor: Visitor, name: str) -> None:
    """Press a button in the page's header and confirm the dialog."""
    page = visitor.page
    await page.locator(".page-actions").get_by_role("button", name=name).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await visitor.screenshot(f"adapter-{name.lower().replace(' ', '-')}")
    await page.get_by_role("dialog").get_by_role("button", name=name).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def expect_state(page: Page, state: str) -> None:
    await expect(page.locator(".page-header .badge")).to_have_text(state)


@pytest.mark.timeout(180)
async def test_adapter_is_promoted_and_rolled_back(browser: Browser, demo: AdapterDemo):
    adapter = demo.adapter
    async with Visitor.in_new_context(browser, demo.address) as ada:
        page, main = ada.page, ada.page.locator("main")
        await ada.sign_in(demo.ada.email, PASSWORD)
        await page.get_by_role("link", name="1 adapter needs approval").click()
        await expect(page.get_by_role("heading", name="Adapters")).to_be_in_viewport()
        await page.get_by_role("link", name=adapter.name).click()
        await expect_state(page, "Needs approval")
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
        assert left["x"] + left["width"] < right["x"], "the answers are not side by side"

        await press_and_confirm(ada, "Promote")
        await expect_state(page, "Canary")
        await expect(main).to_contain_text("Served · 50% of the base model's traffic")
        assert demo.state() == "canary"
        await press_and_confirm(ada, "Promote")
        await expect_state(page, "Live")
        await expect(main).to_contain_text("Served · 100% of the base model's traffic")
        assert demo.state() == "live"
        await press_and_confirm(ada, "Roll back")
        await expect_state(page, "Retired")
        await expect(main).to_contain_text("Not served")
        assert demo.state() == "retired"
        assert ada.errors == []
    actions = [entry["action"] for entry in demo.request("/api/audit")["items"]]
    assert [action for action in actions if action.startswith("adapter.")] == [
        "adapter.rolled_back",
        "adapter.promoted",
        "adapter.promoted",
    ]


@pytest.mark.timeout(180)
async def test_canary_is_listed_below_its_base_model(browser: Browser, demo: AdapterDemo):
    adapter = demo.adapter
    demo.request(f"/api/adapters/{adapter.id}/promote", "POST")
    faults: dict[str, list[str]] = {}
    async with Visitor.in_new_context(browser, demo.address) as ada:
        await ada.authenticate(demo.ada.email, PASSWORD)
        await ada.open("/models")
        below = ada.page.get_by_role("group", name=f"Adapters of {BASE}")
        card = below.get_by_role("article", name=adapter.name)
        async for appearance in ada.appearances():
            await expect(card).to_contain_text("50%")
            faults[appearance] = await ada.faults()
            await ada.screenshot(f"models-adapter-{appearance}")
            assert await ada.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        await card.get_by_role("link", name=adapter.name).click()
        await expect(ada.page.get_by_role("heading", level=1)).to_have_text(adapter.name)
        await expect(ada.page.get_by_role("main")).to_contain_text(f"Adapter of {BASE}")
        faults["page"] = await ada.faults()
        await ada.screenshot("model-adapter")
        await ada.page.get_by_role("link", name="Evaluation and training").click()
        await expect(ada.page).to_have_url(f"{demo.address}/learning/adapters/{adapter.id}")
        await expect_state(ada.page, "Canary")
        assert ada.errors == []
    assert {appearance: found for appearance, found in faults.items() if found} == {}
