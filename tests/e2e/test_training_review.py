"""The review of samples before a training: in the dialog of the dashboard, and on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from playwright.async_api import Browser, Locator, expect

from kairos.cli.client import runtime
from kairos.config import Settings
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.embedded import Addresses
from kairos.tenancy import ProjectId
from tests.e2e.demo import PASSWORD, Person, sign_up
from tests.kit.approved import CALLS, NOTES, add_approved
from tests.kit.browser import Visitor
from tests.kit.daemon_process import DaemonProcess, command, on_engines, parsed
from tests.kit.model_server import ModelServer, ScriptedModel

BASE = "smol"
CONTRADICTION = [(CALLS[0][0].upper(), 'vex.paint("the kettle")')]
REPEATED = [CALLS[1]]
SAMPLES = [*CALLS, *NOTES, *CONTRADICTION, *REPEATED]


@dataclass(frozen=True, slots=True)
class Plant:
    """A daemon with one model that can be trained."""

    daemon: DaemonProcess
    addresses: Addresses
    address: str

    async def approve(self, project_id: str) -> None:
        """Store the samples as approved ones of a project."""
        at = DatabaseAddresses(self.addresses.database_url, self.addresses.migration_url, self.addresses.system_url)
        database = Database(at, Settings().database)
        try:
            await add_approved(database, ProjectId(UUID(project_id)), SAMPLES, task_type="code")
        finally:
            await database.close()


@pytest.fixture(scope="module")
async def plant(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    folder: Path = tmp_path_factory.mktemp("plant")
    (weights := folder / "smol.gguf").write_bytes(b"GGUF")
    async with ModelServer() as server:
        server.add(ScriptedModel(BASE, answer={"Vex": 'vex.paint("lamp")', "": "We are happy to announce it."}))
        model = {"name": BASE, "base_url": server.base_url, "local": True, "context": 8192}
        trainable = {**model, "weights": str(weights), "adapters": "ollama"}
        daemon = DaemonProcess(folder / "kairos", on_engines(addresses, models=[trainable]))
        await daemon.start()
        try:
            address = runtime(daemon.folder / "data")["address"].replace("127.0.0.1", "localhost")
            yield Plant(daemon, addresses, address)
        finally:
            await daemon.stop()


@pytest.fixture
async def ada(plant: Plant) -> Person:
    """The owner of a project with the samples."""
    person = await sign_up(plant.daemon, "Ada", "Vex", "aurora")
    await plant.approve(person.project_id)
    return person


async def opened(visitor: Visitor, button: str = "Fine-tune", title: str = "Review of the samples") -> Locator:
    """Open the dialog, if it is not open, and wait for the review."""
    dialog = visitor.page.get_by_role("dialog")
    if not await dialog.count():
        await visitor.page.get_by_role("button", name=button, exact=True).click()
    await expect(dialog.get_by_role("heading", name=title)).to_be_visible()
    return dialog


@pytest.mark.timeout(180)
async def test_dialog_reviews_the_samples_and_asks_the_base_model(browser: Browser, plant: Plant, ada: Person):
    async with Visitor.in_new_context(browser, plant.address) as visitor:
        await visitor.sign_in(ada.email, PASSWORD)
        await visitor.open("/learning")
        dialog = await opened(visitor)
        review = dialog.get_by_role("region", name="Review of the samples")
        await expect(review.get_by_role("note")).to_contain_text("Resolve 1 contradiction:")
        await expect(review.get_by_role("note")).to_contain_text("in place of 1 repeated sample")
        await expect(review.get_by_role("note")).to_contain_text("more samples of the kind “code: ")
        await expect(review).to_contain_text("14 samples, ")
        await expect(review).to_contain_text("No measured success rate yet.")
        await expect(review.get_by_text("It already answers")).to_have_count(0)
        await review.get_by_role("button", name="Ask the base model").click()
        await expect(review.get_by_role("status")).to_contain_text("It already answers 2 of 17 samples.")
        await review.get_by_text("Samples that it answers right").click()
        await expect(review.get_by_role("link", name=CALLS[1][0], exact=True)).to_have_count(2)
        await review.locator("summary").first.click()
        await review.get_by_role("link", name="Second sample").click()
        await expect(visitor.page.get_by_role("main")).to_contain_text('vex.paint("the kettle")')
        await expect(visitor.page.get_by_role("dialog")).to_have_count(0)
        assert visitor.errors == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("locale", "button", "title", "question"),
    [
        ("en-GB", "Fine-tune", "Review of the samples", "Ask the base model"),
        ("tr-TR", "İnce ayar yap", "Örneklerin incelemesi", "Temel modele sor"),
    ],
)
async def test_dialog_fits_the_window_and_has_no_serious_axe_violation(
    browser: Browser, plant: Plant, ada: Person, locale: str, button: str, title: str, question: str
):
    faults: dict[str, list[str]] = {}
    async with Visitor.in_new_context(browser, plant.address, locale=locale) as visitor:
        await visitor.sign_in(ada.email, PASSWORD)
        await visitor.open("/learning")
        async for appearance in visitor.appearances():
            dialog = await opened(visitor, button, title)
            await visitor.screenshot(f"review-{locale}-{appearance}")
            faults[appearance] = await visitor.faults()
            assert await dialog.locator(".dialog-body").evaluate("body => body.scrollWidth - body.clientWidth") <= 0, (
                appearance
            )
            if await (ask := dialog.get_by_role("button", name=question)).count():
                await ask.click()
            await expect(dialog.get_by_role("status")).to_contain_text("17")
            closed = dialog.locator("details:not([open]) > summary")
            while await closed.count():
                await closed.first.click()
            await dialog.get_by_role("status").scroll_into_view_if_needed()
            await visitor.screenshot(f"review-{locale}-{appearance}-end")
            faults[f"{appearance}-end"] = await visitor.faults()
        assert visitor.errors == []
    assert {name: found for name, found in faults.items() if found} == {}


async def test_command_line_shows_the_review_and_asks_the_base_model(plant: Plant):
    async def kairos(*arguments: str):
        """Run in a thread: the model's server answers in this one."""
        config = str(plant.daemon.config)
        return await asyncio.to_thread(command, plant.daemon.folder, *arguments, KAIROS_CONFIG=config)

    project = parsed(await kairos("project", "create", "Review", "--json"))
    await plant.approve(project["id"])
    dry = await kairos("fine-tune", "--dry-run", "--project", project["id"])
    assert "1 kind" not in dry.stdout
    for expected in ("2 kinds", "Write the Vex call to", "no measured success rate yet", "→ Resolve 1 contradiction:"):
        assert expected in dry.stdout, dry.stdout + dry.stderr
    assert "the base already answers" not in dry.stdout
    checked = parsed(await kairos("fine-tune", "--dry-run", "--check-base", "--project", project["id"], "--json"))
    assert (checked["review"]["contradictions"], checked["base_check"]["asked"]) == (1, 17)
    asked = await kairos("fine-tune", "--dry-run", "--check-base", "--project", project["id"])
    assert "the base already answers 2 of 17 sampled rows" in asked.stdout
    refused = await kairos("fine-tune", "--check-base")
    assert (refused.returncode, "--dry-run" in refused.stderr) == (2, True)
